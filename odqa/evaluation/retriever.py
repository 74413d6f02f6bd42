"""Retrieval alone: is the document that a question was asked about found, and how near the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odqa.embedder import Embedder
from odqa.errors import DataError
from odqa.evaluation import misses, summary
from odqa.evaluation.answers import with_known_documents
from odqa.evaluation.dataset import Question
from odqa.evaluation.files import report_name
from odqa.evaluation.intervals import interval
from odqa.evaluation.misses import ArticleRanks, Miss
from odqa.evaluation.provenance import IndexUsed, Provenance, gather, index_used
from odqa.evaluation.ranked import Ranked, rank, ranked
from odqa.evaluation.ranking import CUTS, Ranking, measures
from odqa.index import Index
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Retriever

KIND = "retriever"


@dataclass(frozen=True, slots=True)
class Score:
    """The mean of a measure in 0..1, and its 95 % confidence interval from a bootstrap over articles."""

    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class QuestionRanks:
    """Where each question was met by each side, from 1, None beyond the depth; entry i of each is the same question."""

    id: tuple[str, ...]
    title: tuple[str, ...]
    answerable: tuple[bool, ...]
    ranks: Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class RetrieverReport:
    """All that an evaluation found, by side (dense, sparse, fused) and by questions (all, answerable, unanswerable).

    A measure that some questions of a group lack is left out: an answer string where there is no answer, recall where
    the document is not known.

    Attributes:
        report: What kind of report this is.
        index: The index that was asked.
        by_answer: Questions whose document is not known, so that only answer strings tell whether they were met.
        groups: Number of questions of each group.
        scores: `recall@k`, `mrr@k`, `map@k` and `ndcg@k` of documents, `hit_rate@k` of passages.
        curves: Share of the answerable questions met within the first 1, 2, 3, ...
        articles: Of the last side, the worst first.
        examples: Answerable questions that the last side does not meet first.
        provenance: Embedder, data, settings, versions.
        seconds: Time that retrieval took, of all sides together.
        questions_per_second: The same as a rate.
        questions: Where each was met.
    """

    report: str
    index: IndexUsed
    by_answer: int
    groups: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Mapping[str, Score]]]
    curves: Mapping[str, tuple[float, ...]]
    articles: tuple[ArticleRanks, ...]
    examples: tuple[Miss, ...]
    provenance: Provenance
    seconds: float
    questions_per_second: float
    questions: QuestionRanks = field(repr=False)

    @property
    def side(self) -> str:
        """The side that the recipe uses."""
        return list(self.scores)[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON."""
        found: dict[str, Any] = summary.plain(self)
        return found


def evaluate_retriever(
    index: Index,
    recipe: RetrieverRecipe,
    questions: Sequence[Question],
    *,
    embedder: Embedder | None = None,
    depth: int = max(CUTS),
    data: str = "",
    available: int | None = None,
    seed: int = 0,
    command: str = "",
) -> RetrieverReport:
    """Rank the documents of an index for each question, by their best passage, `depth` deep.

    The gold document of a question is the paragraph that it was asked about, whether it can be answered there or not.

    Args:
        index: Holds all of the questions' documents or none.
        recipe: How to search.
        questions: At least one.
        embedder: The index's own; loaded where None.
        depth: Documents, or passages, of each ranking.
        data: Where the questions come from, for the record: a path or a name.
        available: How many there were to choose from; all of them where None.
        seed: Of the intervals and the sample of examples.
        command: For the record.

    Raises:
        DataError: there is no question, or the index lacks some of their documents.
    """
    if not questions:
        raise DataError("There is no question to evaluate: give at least one.")
    asked = with_known_documents(index, questions)
    retriever = Retriever(index, recipe, embedder=embedder)
    found, seconds = ranked(retriever, asked, depth)
    groups = _groups(asked)
    used = retriever.embedder
    return RetrieverReport(
        report=report_name(KIND),
        index=index_used(index),
        by_answer=sum(not question.document_id for question in asked),
        groups={name: len(rows) for name, rows in groups.items()},
        scores={side: _scores(asked, one, groups, seed) for side, one in found.items()},
        curves={side: _curve(asked, one, groups["answerable"], depth) for side, one in found.items()},
        articles=misses.articles(asked, list(found.values())[-1]),
        examples=misses.examples(index, asked, found, seed=seed),
        provenance=gather(
            used.name if used else "BM25 alone",
            used.fingerprint if used else "",
            recipe.model_dump(mode="json"),
            data,
            available=len(questions) if available is None else available,
            seed=seed,
            command=command,
        ),
        seconds=seconds,
        questions_per_second=len(asked) / seconds,
        questions=QuestionRanks(
            tuple(question.id for question in asked),
            tuple(question.article for question in asked),
            tuple(not question.is_impossible for question in asked),
            {side: tuple(map(rank, asked, one)) for side, one in found.items()},
        ),
    )


def _groups(questions: Sequence[Question]) -> dict[str, list[int]]:
    rows = range(len(questions))
    return {
        "all": list(rows),
        "answerable": [row for row in rows if not questions[row].is_impossible],
        "unanswerable": [row for row in rows if questions[row].is_impossible],
    }


def _scores(
    questions: Sequence[Question], found: Sequence[Ranked], groups: Mapping[str, Sequence[int]], seed: int
) -> dict[str, dict[str, Score]]:
    """The scores of one side, by group."""
    measured, articles = list(map(_measured, questions, found)), [question.article for question in questions]
    return {
        name: {
            measure: Score(float(np.mean(values)), interval(values, [articles[row] for row in rows], seed=seed))
            for measure in (measured[rows[0]] if rows else ())
            if len(values := [measured[row][measure] for row in rows if measure in measured[row]]) == len(rows)
        }
        for name, rows in groups.items()
    }


def _measured(question: Question, found: Ranked) -> dict[str, float]:
    """The measures that a question has: of its document where that is known, of answer strings where it has any."""
    known = measures(Ranking(found.documents, {question.document_id})) if question.document_id else {}
    hit = found.hit or max(CUTS) + 1
    return known | {f"hit_rate@{k}": float(hit <= k) for k in CUTS if question.answers}


def _curve(
    questions: Sequence[Question], found: Sequence[Ranked], rows: Sequence[int], depth: int
) -> tuple[float, ...]:
    places = [rank(questions[row], found[row]) or depth + 1 for row in rows]
    counts = np.bincount(places, minlength=depth + 2)[1 : depth + 1]
    return tuple((np.cumsum(counts) / max(1, len(places))).tolist())
