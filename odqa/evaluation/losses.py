"""Where a pipeline loses its questions, and examples to look at."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from odqa.evaluation.answers import Best, Found, is_gold
from odqa.evaluation.mistakes import Piece, distinct, pieces
from odqa.evaluation.outcomes import Outcome


class Loss(StrEnum):
    """What became of a question: the first of these that fits."""

    RIGHT = "right"
    """The exact answer, wherever it was found."""
    NOT_RETRIEVED = "not_retrieved"
    """There is an answer; its gold passage was not among those that were read."""
    WRONGLY_ABSTAINED = "wrongly_abstained"
    """The gold passage was read, no answer was given."""
    WRONG_PASSAGE = "wrong_passage"
    """The gold passage was read, another one was answered from."""
    WRONG_SPAN = "wrong_span"
    """The answer is from the gold passage, but not exactly right."""
    RIGHTLY_ABSTAINED = "rightly_abstained"
    """There is no answer, none was given, or one of articles and punctuation alone, as the official rules have it."""
    WRONGLY_ANSWERED = "wrongly_answered"
    """There is no answer, one was given."""


GAINS = (Loss.RIGHT, Loss.RIGHTLY_ABSTAINED)


@dataclass(frozen=True, slots=True)
class Case:
    """A question, what the pipeline found, and how right it is; the outcome's margin is `Best.over_no_answer`."""

    outcome: Outcome
    found: Found


@dataclass(frozen=True, slots=True)
class LossExample:
    """A question to look at. The prediction is the best answer, given or not; the gold passage is empty if unknown.

    `elsewhere` says that the prediction is not from the question's own document.
    """

    loss: Loss
    id: str
    title: str
    question: str
    prediction: str
    gold: tuple[str, ...]
    plausible: tuple[str, ...]
    score: float
    probability: float
    f1: float
    gold_rank: int | None
    document_id: str
    gold_document_id: str
    elsewhere: bool
    passage: tuple[Piece, ...]
    gold_passage: tuple[Piece, ...]


def loss(case: Case, threshold: float) -> Loss:
    """What becomes of a question under a null threshold."""
    exact, _ = case.outcome.scores(threshold)
    if case.outcome.question.is_impossible:
        return Loss.RIGHTLY_ABSTAINED if exact else Loss.WRONGLY_ANSWERED
    if exact:
        return Loss.RIGHT
    if case.found.gold_rank is None:
        return Loss.NOT_RETRIEVED
    if not case.outcome.answered(threshold):
        return Loss.WRONGLY_ABSTAINED
    return Loss.WRONG_PASSAGE if _elsewhere(case) else Loss.WRONG_SPAN


def counts(cases: Sequence[Case], threshold: float) -> dict[str, int]:
    """Number of questions of each loss; they add up to all of them."""
    found = Counter(loss(case, threshold) for case in cases)
    return {str(one): found[one] for one in Loss}


def examples(cases: Sequence[Case], threshold: float, *, of_each: int = 20, seed: int = 0) -> tuple[LossExample, ...]:
    """A random sample of each loss, the ones farthest from the threshold first."""
    groups: dict[Loss, list[Case]] = {one: [] for one in Loss if one not in GAINS}
    for case in cases:
        if (found := loss(case, threshold)) not in GAINS:
            groups[found].append(case)
    draw = random.Random(seed)  # noqa: S311
    chosen = [(one, draw.sample(group, min(of_each, len(group)))) for one, group in groups.items()]
    return tuple(
        _example(one, case)
        for one, group in chosen
        for case in sorted(group, key=_score, reverse=one is not Loss.WRONGLY_ABSTAINED)
    )


def answered_elsewhere(cases: Sequence[Case], threshold: float) -> list[Case]:
    """Unanswerable questions that were answered from another document than their own, the surest first.

    SQuAD calls a question unanswerable for its own paragraph alone: some of these answers may be right.
    """
    found = [case for case in cases if case.outcome.question.document_id and _elsewhere(case)]
    lost = [case for case in found if loss(case, threshold) is Loss.WRONGLY_ANSWERED]
    return sorted(lost, key=_score, reverse=True)


def audit(cases: Sequence[Case], threshold: float, *, limit: int = 50) -> tuple[LossExample, ...]:
    """The surest of `answered_elsewhere`, to look at."""
    return tuple(_example(Loss.WRONGLY_ANSWERED, case) for case in answered_elsewhere(cases, threshold)[:limit])


def _score(case: Case) -> float:
    return case.outcome.margin


def _elsewhere(case: Case) -> bool:
    best = case.found.best
    return best is not None and not is_gold(best.document_id, best.passage, case.outcome.question)


def _example(loss: Loss, case: Case) -> LossExample:
    question, best = case.outcome.question, case.found.best
    passage = best.passage if best else ""
    gold = [(answer.start, answer.end) for answer in question.answers] if question.context else []
    return LossExample(
        loss=loss,
        id=question.id,
        title=question.title,
        question=question.question,
        prediction=case.outcome.prediction,
        gold=distinct(question.answers),
        plausible=distinct(question.plausible),
        score=case.outcome.margin,
        probability=best.probability if best else 0.0,
        f1=case.outcome.f1,
        gold_rank=case.found.gold_rank,
        document_id=best.document_id if best else "",
        gold_document_id=question.document_id,
        elsewhere=_elsewhere(case),
        passage=_marked(best, gold if passage == question.context else []),
        gold_passage=pieces(question.context, (0, 0), gold) if passage != question.context else (),
    )


def _marked(best: Best | None, gold: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    return pieces(best.passage, (best.start, best.end), gold) if best else ()
