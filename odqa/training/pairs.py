"""Questions with their passages, and the batches in which each question is to find its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import DataError
from odqa.evaluation.dataset import Question

_CHUNK = 32
"""Passages of like length that go through the model together, so that little is padding."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Questions and the passages that they were asked about, each distinct text once.

    An unanswerable question is a pair like any other: its passage is the one to find, to see there that it holds no
    answer.

    Attributes:
        questions: The questions that train.
        passages: The distinct passages, one of their questions for each: it knows text, title and document.
        gold: int32 (questions,), each question's passage.
    """

    questions: Sequence[Question]
    passages: Sequence[Question]
    gold: NDArray[np.int32]

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.questions)

    def __getitem__(self, row: int) -> int:
        """The number itself: the collator takes a whole batch at once."""
        return row


def pair(questions: Sequence[Question]) -> Pairs:
    """Pair questions with their passages.

    Raises:
        DataError: a question or a passage is blank, or there are not two passages to tell apart.
    """
    places: dict[str, int] = {}
    passages: list[Question] = []
    for one in questions:
        if not one.question.strip() or not one.context.strip():
            blank = "no question" if one.context.strip() else "no passage"
            raise DataError(f'Question "{one.id}" has {blank} but white space: take it out, or write it.')
        if places.setdefault(one.context, len(places)) == len(passages):
            passages.append(one)
    if len(passages) < 2:
        raise DataError(f"{len(passages)} passages are left to train with: give data with at least two to tell apart.")
    return Pairs(questions, passages, np.array([places[one.context] for one in questions], np.int32))


@dataclass(slots=True)
class Batches:
    """The batches of one epoch: a function of the seed and `epoch` alone, so that a resumed run goes on.

    Each pair stands in one batch, no batch holds two questions about the same passage, and sizes differ by one at
    most. There are more batches than `batch_size` asks for where one passage has more questions than that.
    """

    gold: NDArray[np.int32]
    batch_size: int
    seed: int
    epoch: int = 0
    drop_last: bool = False

    def __len__(self) -> int:
        """How many batches there are."""
        return max(math.ceil(len(self.gold) / self.batch_size), int(np.bincount(self.gold).max()))

    def __iter__(self) -> Iterator[list[int]]:
        """Rows of the pairs in each batch."""
        rng = np.random.default_rng([self.seed, 0, self.epoch])
        order = np.argsort(self.gold, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.gold[order])) + 1)
        filled = np.zeros(len(self))
        places = np.empty(len(self.gold), np.int64)
        for group in (groups[number] for number in rng.permutation(len(groups))):
            emptiest = np.argsort(filled + rng.random(len(filled)))[: len(group)]
            places[rng.permutation(group)] = emptiest
            filled[emptiest] += 1
        batches = np.split(np.argsort(places, kind="stable"), np.cumsum(filled[:-1], dtype=np.int64))
        return iter([batch.tolist() for batch in batches])


@dataclass(frozen=True, slots=True)
class Collator:
    """Turns rows of pairs into the tensors of one batch.

    Attributes:
        pairs: What to take them from.
        negatives: int32 (questions, negatives), hard negatives by passage; -1 stands for none.
        tokenize: From texts and their role, "query" or "document", to tensors by name, as the model takes them.
    """

    pairs: Pairs
    negatives: NDArray[np.int32]
    tokenize: Callable[[Sequence[str], str], Mapping[str, Any]]

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """`question_*`, `passages0_*`, `passages1_*`... and, as `label`, each question's place among all passages.

        Each passage of the batch stands there once, whoever brought it: one question's hard negative may be
        another's gold passage, and is never held against the latter.
        """
        import torch

        gold, hard = self.pairs.gold[list(rows)], self.negatives[list(rows)]
        numbers = np.unique(np.concatenate([gold, hard[hard >= 0]]))
        texts = [self.pairs.passages[number].context for number in numbers]
        order = np.argsort([-len(text) for text in texts], kind="stable")
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        asked = self.tokenize([self.pairs.questions[row].question for row in rows], "query")
        batch = {f"question_{name}": tensor for name, tensor in asked.items()}
        for number, begin in enumerate(range(0, len(order), _CHUNK)):
            chunk = self.tokenize([texts[place] for place in order[begin : begin + _CHUNK]], "document")
            batch |= {f"passages{number}_{name}": tensor for name, tensor in chunk.items()}
        return batch | {"label": torch.from_numpy(places[np.searchsorted(numbers, gold)])}
