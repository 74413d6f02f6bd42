"""What each side of a retriever finds for each question, and where in it the question is met."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odqa import progress
from odqa.evaluation.answers import holds_answer
from odqa.evaluation.dataset import Question
from odqa.retriever import Candidates, Retriever

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one side found for one question, best first.

    Attributes:
        documents: Ids of the documents, each by its best passage.
        first: Row of the best passage; None where nothing was found.
        gold: Rank of the question's document, from 1; None where it is unknown or was not found.
        hit: Rank of the first passage that holds an answer string, likewise.
    """

    documents: Sequence[str]
    first: int | None
    gold: int | None
    hit: int | None


def rank(question: Question, found: Ranked) -> int | None:
    """Where a question is met: at its document, or at an answer string where that is not known."""
    return found.gold if question.document_id else found.hit


def ranked(retriever: Retriever, questions: Sequence[Question], depth: int) -> tuple[dict[str, list[Ranked]], float]:
    """Rankings of `depth` documents and passages, by side, one for each question; and the seconds of retrieval.

    The sides are dense, sparse and, where the recipe uses both, fused, which comes last.
    """
    index = retriever.index
    live = np.flatnonzero(index.rows())
    names = {int(row): passage.document_id for row, passage in zip(live, index.passages(), strict=True)}
    sides: dict[str, list[Ranked]] = {}
    seconds = 0.0
    with progress.bar("Retrieving", total=len(questions), unit="questions") as tick:
        for at in range(0, len(questions), _BATCH):
            batch = questions[at : at + _BATCH]
            begin = time.perf_counter()
            found = _candidates(retriever, [one.question for one in batch], names, depth)
            seconds += time.perf_counter() - begin
            for question, candidates in zip(batch, found, strict=True):
                for side, scores in _sides(candidates).items():
                    rows = _ordered(candidates.rows, scores)
                    sides.setdefault(side, []).append(_one(retriever, question, rows, names, depth))
            tick.advance(len(batch))
    return sides, seconds


def _candidates(
    retriever: Retriever, questions: Sequence[str], names: Mapping[int, str], depth: int
) -> list[Candidates]:
    """Candidates deep enough for `depth` documents a side, or all that there are."""
    reach = 2 * depth
    while True:
        found = retriever.candidates(questions, depth=reach)
        if reach >= len(names) or all(_is_deep(one, names, depth, reach) for one in found):
            return found
        reach *= 2


def _is_deep(found: Candidates, names: Mapping[int, str], depth: int, reach: int) -> bool:
    """Whether each side has `depth` documents among its best `reach` rows, or fewer rows than that."""
    sides = (_ordered(found.rows, scores)[:reach] for scores in _sides(found).values())
    return all(len(rows) < reach or len({names[row] for row in rows}) >= depth for rows in sides)


def _sides(found: Candidates) -> dict[str, NDArray[np.float64]]:
    """Scores by side; where there is one side only, fusion adds nothing."""
    sides = {"dense": found.dense, "sparse": found.sparse}
    known = {side: scores for side, scores in sides.items() if scores is not None}
    return known if len(known) < len(sides) else {**known, "fused": found.scores}


def _ordered(rows: NDArray[np.int64], scores: NDArray[np.float64]) -> list[int]:
    """Rows by falling score; a passage that shares nothing with the question was not found."""
    order = np.lexsort((rows, -scores))
    return [int(row) for row in rows[order[scores[order] != 0]]]


def _one(retriever: Retriever, question: Question, rows: Sequence[int], names: Mapping[int, str], depth: int) -> Ranked:
    documents = list(dict.fromkeys(names[row] for row in rows))[:depth]
    gold = documents.index(question.document_id) + 1 if question.document_id in documents else None
    texts = (retriever.index.passage(row).text for row in rows[:depth]) if question.answers else iter(())
    hit = next((place for place, text in enumerate(texts, 1) if holds_answer(text, question)), None)
    return Ranked(documents, rows[0] if rows else None, gold, hit)
