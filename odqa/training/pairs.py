"""Questions with their passages, and the batches in which each question is to find its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.corpus.squad import shown_title
from odqa.errors import DataError
from odqa.evaluation.dataset import Question
from odqa.index.terms import Analyzer, Bm25, searched_text
from odqa.recipes import RetrieverTrainingRecipe, TermsCard

_PART = 16
"""Texts of like length that go through the model together, so that little is padding."""


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


def bm25(pairs: Pairs, card: TermsCard) -> Bm25:
    """BM25 over the passages, by their numbers."""
    texts = [searched_text(shown_title(one.title), one.context) for one in pairs.passages]
    return Bm25([Analyzer(card).postings(texts)], card)


@dataclass(slots=True)
class Batches:
    """The batches of one epoch: a function of the seed and `epoch` alone, so that a resumed run goes on.

    Each pair stands in one batch. A batch holds `batch_size` passages, the last one what is left, each with as many of
    its questions as the recipe says; those of one group are of one article and stand side by side.
    """

    pairs: Pairs
    recipe: RetrieverTrainingRecipe
    epoch: int = 0
    drop_last: bool = False

    def __len__(self) -> int:
        """How many batches there are."""
        counts = np.bincount(self.pairs.gold)
        return math.ceil(int(np.ceil(counts / (self.recipe.questions or max(counts))).sum()) / self.recipe.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Rows of the pairs in each batch."""
        rng = np.random.default_rng([self.recipe.seed, 0, self.epoch])
        units = self._units(rng)
        articles = np.unique([one.title for one in self.pairs.passages], return_inverse=True)[1]
        mixed = rng.permutation(len(units))
        groups = _cut(mixed, articles[[self.pairs.gold[units[number][0]] for number in mixed]], self.recipe.group_size)
        order = np.concatenate([groups[number] for number in rng.permutation(len(groups))])
        for begin in range(0, len(order), self.recipe.batch_size):
            batch = order[begin : begin + self.recipe.batch_size]
            yield np.concatenate([units[number] for number in batch]).tolist()

    def _units(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """Rows of questions about the same passage that come together."""
        mixed = rng.permutation(len(self.pairs))
        return _cut(mixed, self.pairs.gold[mixed], self.recipe.questions or len(self.pairs))


def _cut(items: NDArray[np.int64], owners: NDArray[np.integer], size: int) -> list[NDArray[np.int64]]:
    """The items of each owner, in their order, in pieces of `size` at most."""
    order = np.argsort(owners, kind="stable")
    groups = np.split(items[order], np.flatnonzero(np.diff(owners[order])) + 1)
    return [group[begin : begin + size] for group in groups for begin in range(0, len(group), size)]


@dataclass(frozen=True, slots=True)
class Collator:
    """Turns rows of pairs into the tensors of one batch.

    Attributes:
        pairs: What to take them from.
        negatives: int32 (questions, negatives), hard negatives by passage; -1 stands for none.
        tokenize: From texts and their role, "query" or "document", to tensors by name, as the loss takes them.
        terms: From a question and numbers of passages to what the terms add to each one's score.
    """

    pairs: Pairs
    negatives: NDArray[np.int32]
    tokenize: Callable[[Sequence[str], str], Mapping[str, Any]]
    terms: Callable[[str, NDArray[np.int64]], NDArray[np.float64]]

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """`questions0_*`, `questions1_*`... `passages0_*`... and, as `label`, the place of each question's passage.

        Both are sorted by length and go in parts, so that little is padding. `questions0_terms`, float (questions,
        passages), is what the terms add to the score of each passage.

        Each passage of the batch stands there once, whoever brought it: one question's hard negative may be
        another's gold passage, and is never held against the latter.
        """
        import torch

        rows = sorted(rows, key=lambda row: -len(self.pairs.questions[row].question))
        gold, hard = self.pairs.gold[rows], self.negatives[rows]
        named = set(gold.tolist()) | set(hard[hard >= 0].tolist())
        numbers = np.array(sorted(named, key=lambda number: (-len(self.pairs.passages[number].context), number)))
        questions = [self.pairs.questions[row].question for row in rows]
        terms = torch.from_numpy(np.stack([self.terms(question, numbers) for question in questions]).astype(np.float32))
        batch = self._parts("questions", questions, terms=terms)
        batch |= self._parts("passages", [self.pairs.passages[number].context for number in numbers])
        return batch | {"label": torch.from_numpy(np.argmax(gold[:, None] == numbers, axis=1))}

    def _parts(self, name: str, texts: Sequence[str], **columns: Any) -> dict[str, Any]:
        """Tokens of the texts in parts, and the rows of each column that belong to them."""
        role = "query" if name == "questions" else "document"
        batch: dict[str, Any] = {}
        for number, begin in enumerate(range(0, len(texts), _PART)):
            part = slice(begin, begin + _PART)
            tensors = {**self.tokenize(texts[part], role), **{key: column[part] for key, column in columns.items()}}
            batch |= {f"{name}{number}_{key}": tensor for key, tensor in tensors.items()}
        return batch
