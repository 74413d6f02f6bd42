"""Where questions are lost, and wrong examples to look at."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from odqa.evaluation.dataset import GoldAnswer
from odqa.evaluation.outcomes import Outcome


class Kind(StrEnum):
    """What became of a question."""

    RIGHT = "right"
    """The exact answer, or none where there is none."""
    PARTLY_RIGHT = "partly_right"
    """The answer shares words with a gold answer."""
    WRONG_SPAN = "wrong_span"
    """The answer shares no word with any gold answer."""
    WRONGLY_ABSTAINED = "wrongly_abstained"
    """There is an answer, none was given."""
    WRONGLY_ANSWERED = "wrongly_answered"
    """There is no answer, one was given."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a passage, and whether the predicted span and a gold span cover it."""

    text: str
    predicted: bool
    gold: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A question that was lost. The prediction is the best span, given or not; golds and plausibles are distinct."""

    kind: Kind
    id: str
    title: str
    question: str
    prediction: str
    gold: tuple[str, ...]
    plausible: tuple[str, ...]
    margin: float
    f1: float
    passage: tuple[Piece, ...]


def kind(outcome: Outcome, threshold: float) -> Kind:
    """What becomes of a question under a null threshold."""
    exact, f1 = outcome.scores(threshold)
    if exact:
        return Kind.RIGHT
    if outcome.question.is_impossible:
        return Kind.WRONGLY_ANSWERED
    if not outcome.answered(threshold):
        return Kind.WRONGLY_ABSTAINED
    return Kind.PARTLY_RIGHT if f1 else Kind.WRONG_SPAN


def counts(outcomes: Sequence[Outcome], threshold: float) -> dict[str, int]:
    """Number of questions of each kind; they add up to all of them."""
    found = Counter(kind(outcome, threshold) for outcome in outcomes)
    return {str(one): found[one] for one in Kind}


def examples(outcomes: Sequence[Outcome], threshold: float, *, of_each: int = 20, seed: int = 0) -> tuple[Example, ...]:
    """A random sample of each kind of mistake, the ones farthest from the threshold first."""
    groups: dict[Kind, list[Outcome]] = {one: [] for one in Kind if one is not Kind.RIGHT}
    for outcome in outcomes:
        if (found := kind(outcome, threshold)) is not Kind.RIGHT:
            groups[found].append(outcome)
    draw = random.Random(seed)  # noqa: S311
    chosen = [(one, draw.sample(group, min(of_each, len(group)))) for one, group in groups.items()]
    return tuple(
        _example(one, outcome)
        for one, group in chosen
        for outcome in sorted(group, key=lambda outcome: outcome.margin, reverse=one is not Kind.WRONGLY_ABSTAINED)
    )


def _example(kind: Kind, outcome: Outcome) -> Example:
    question = outcome.question
    gold = [(answer.start, answer.end) for answer in question.answers]
    return Example(
        kind=kind,
        id=question.id,
        title=question.title,
        question=question.question,
        prediction=outcome.prediction,
        gold=distinct(question.answers),
        plausible=distinct(question.plausible),
        margin=outcome.margin,
        f1=outcome.f1,
        passage=pieces(question.context, (outcome.start, outcome.end), gold),
    )


def pieces(passage: str, predicted: tuple[int, int], gold: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """Cut a passage wherever a span begins or ends; joined, the pieces are the passage again."""
    cuts = sorted({0, len(passage), *predicted, *(cut for span in gold for cut in span)})
    return tuple(
        Piece(
            passage[start:end],
            predicted=predicted[0] <= start < predicted[1],
            gold=any(low <= start < high for low, high in gold),
        )
        for start, end in pairwise(cuts)
    )


def distinct(answers: Sequence[GoldAnswer]) -> tuple[str, ...]:
    """The texts of the answers, each once."""
    return tuple(dict.fromkeys(answer.text for answer in answers))
