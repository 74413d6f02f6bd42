"""Questions whose document or answer does not come first, and how the articles differ."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odqa.evaluation.dataset import Question
from odqa.evaluation.mistakes import Piece, distinct, pieces
from odqa.evaluation.ranked import Ranked, rank
from odqa.index import Index

NEAR = 10
"""What comes later than this counts as missed."""


@dataclass(frozen=True, slots=True)
class Miss:
    """An answerable question that is not met first.

    Attributes:
        kind: `missed` where it is not met within the first ten either, else `not_first`.
        id: Of the question.
        title: Of its article.
        question: Its text.
        gold: Its answers, each once.
        ranks: Where each side meets it, from 1; None beyond the depth.
        document_id: Of the passage that the last side puts first; empty where nothing was found.
        passage: That passage, its answer strings not marked.
        gold_document_id: Of the question's own passage; empty where that is not known.
        gold_passage: Its pieces, with the answers marked.
    """

    kind: str
    id: str
    title: str
    question: str
    gold: tuple[str, ...]
    ranks: Mapping[str, int | None]
    document_id: str
    passage: str
    gold_document_id: str
    gold_passage: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class ArticleRanks:
    """The questions of one article: shares in 0..1 met first and within the first ten, and mean reciprocal rank."""

    title: str
    questions: int
    first: float
    near: float
    mrr: float


def articles(questions: Sequence[Question], found: Sequence[Ranked]) -> tuple[ArticleRanks, ...]:
    """How well each article's questions are met, the worst first; unanswerable ones without a document don't count."""
    groups: dict[str, list[int | None]] = {}
    for question, one in zip(questions, found, strict=True):
        if question.document_id or question.answers:
            groups.setdefault(question.article, []).append(rank(question, one))
    made = (_article(title, ranks) for title, ranks in groups.items())
    return tuple(sorted(made, key=lambda article: (article.mrr, article.title)))


def _article(title: str, ranks: Sequence[int | None]) -> ArticleRanks:
    inverse = [1 / place if place else 0.0 for place in ranks]
    near = sum(place >= 1 / NEAR for place in inverse)
    return ArticleRanks(
        title, len(ranks), inverse.count(1.0) / len(ranks), near / len(ranks), sum(inverse) / len(ranks)
    )


def examples(
    index: Index,
    questions: Sequence[Question],
    found: Mapping[str, Sequence[Ranked]],
    *,
    of_each: int = 20,
    seed: int = 0,
) -> tuple[Miss, ...]:
    """A random sample of each kind of miss by the last side, the farthest first."""
    last = list(found.values())[-1]
    places = [rank(question, one) or math.inf for question, one in zip(questions, last, strict=True)]
    answerable = [row for row, question in enumerate(questions) if question.answers]
    kinds = {
        "missed": [row for row in answerable if places[row] > NEAR],
        "not_first": [row for row in answerable if 1 < places[row] <= NEAR],
    }
    draw = random.Random(seed)  # noqa: S311
    chosen = {kind: draw.sample(rows, min(of_each, len(rows))) for kind, rows in kinds.items()}
    return tuple(
        _miss(kind, index, questions[row], {side: ranks[row] for side, ranks in found.items()})
        for kind, rows in chosen.items()
        for row in sorted(rows, key=lambda row: -places[row])
    )


def _miss(kind: str, index: Index, question: Question, found: Mapping[str, Ranked]) -> Miss:
    first = list(found.values())[-1].first
    passage = None if first is None else index.passage(first)
    return Miss(
        kind=kind,
        id=question.id,
        title=question.title,
        question=question.question,
        gold=distinct(question.answers),
        ranks={side: rank(question, one) for side, one in found.items()},
        document_id=passage.document_id if passage else "",
        passage=passage.text if passage else "",
        gold_document_id=question.document_id,
        gold_passage=_marked(question),
    )


def _marked(question: Question) -> tuple[Piece, ...]:
    if not question.context:
        return ()
    return pieces(question.context, (0, 0), [(answer.start, answer.end) for answer in question.answers])
