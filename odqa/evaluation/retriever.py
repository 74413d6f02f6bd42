"""Retrieval alone: is the document that a question was asked about found, and how near the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import progress
from odqa.embedder import Embedder
from odqa.errors import DataError
from odqa.evaluation.dataset import Question
from odqa.evaluation.ranking import CUTS, Ranking, evaluate
from odqa.index import Index
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Candidates, Retriever

_BATCH = 256


@dataclass(frozen=True, slots=True)
class RetrieverReport:
    """Scores in [0, 1] by ranking (dense, sparse, fused) and by questions (all, answerable, unanswerable)."""

    index: str
    generation: int
    documents: int
    passages: int
    questions: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return asdict(self)


def evaluate_retriever(
    index: Index,
    recipe: RetrieverRecipe,
    questions: Sequence[Question],
    *,
    embedder: Embedder | None = None,
    depth: int = max(CUTS),
) -> RetrieverReport:
    """Rank the documents of an index for each question, by their best passage, `depth` deep.

    The gold document of a question is the paragraph that it was asked about, whether it can be answered there or not.

    Raises:
        DataError: the index doesn't hold a question's document; the two don't belong together.
    """
    live = np.flatnonzero(index.rows())
    names_of = {int(row): passage.document_id for row, passage in zip(live, index.passages(), strict=True)}
    _check_gold(index.name, set(names_of.values()), questions)
    retriever = Retriever(index, recipe, embedder=embedder)
    rankings: dict[str, list[Ranking]] = {"dense": [], "sparse": [], "fused": []}
    with progress.bar("Retrieving", total=len(questions), unit="questions") as tick:
        for at in range(0, len(questions), _BATCH):
            batch = questions[at : at + _BATCH]
            found = retriever.candidates([one.question for one in batch], depth=2 * depth)
            for question, candidates in zip(batch, found, strict=True):
                for side, names in _documents(candidates, names_of).items():
                    rankings[side].append(Ranking(names[:depth], {question.document_id}))
            tick.advance(len(batch))
    groups = _groups(questions)
    return RetrieverReport(
        index.name,
        index.generation.number,
        index.generation.documents,
        len(index),
        {name: len(rows) for name, rows in groups.items()},
        {
            side: {name: evaluate([found[row] for row in rows]) for name, rows in groups.items()}
            for side, found in rankings.items()
            if found
        },
    )


def _documents(found: Candidates, names: Mapping[int, str]) -> dict[str, list[str]]:
    """The documents of a question's candidates by falling score, one ranking a side."""
    sides = {"dense": found.dense, "sparse": found.sparse, "fused": found.scores}
    return {side: _ranked(found.rows, scores, names) for side, scores in sides.items() if scores is not None}


def _ranked(rows: NDArray[np.int64], scores: NDArray[np.float64], names: Mapping[int, str]) -> list[str]:
    order = np.lexsort((rows, -scores))
    return list(dict.fromkeys(names[int(row)] for row in rows[order[scores[order] != 0]]))


def _groups(questions: Sequence[Question]) -> dict[str, list[int]]:
    rows = range(len(questions))
    return {
        "all": list(rows),
        "answerable": [row for row in rows if not questions[row].is_impossible],
        "unanswerable": [row for row in rows if questions[row].is_impossible],
    }


def _check_gold(name: str, known: Set[str], questions: Sequence[Question]) -> None:
    missing = sorted({question.document_id for question in questions} - known)
    if missing:
        raise DataError(
            f'Index "{name}" lacks {len(missing)} of the documents asked about, the first '
            f'"{missing[0]}". Build it from the same paragraphs.'
        )
