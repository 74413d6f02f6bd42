"""The same predictions under several null thresholds, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odqa.evaluation import squad
from odqa.evaluation.intervals import interval
from odqa.evaluation.outcomes import Outcome
from odqa.reader.ranking import probability

ALWAYS, NEVER = float("-inf"), float("inf")


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The scores under one null threshold.

    Attributes:
        threshold: Least margin that is answered; -inf answers always, inf never.
        na_prob: The same threshold for the official script: above this no-answer probability, nothing is answered.
        answered: Share of the questions that get an answer, in 0..1.
        scores: `exact`, `f1`, `total`, and the same of answerable (`HasAns_`) and other questions (`NoAns_`), percent.
        exact_interval: 95 % confidence interval of `exact`, clustered by article, in percent.
        f1_interval: The same of `f1`.
    """

    threshold: float
    na_prob: float
    answered: float
    scores: Mapping[str, float]
    exact_interval: tuple[float, float]
    f1_interval: tuple[float, float]


def official_scores(outcomes: Sequence[Outcome], threshold: float) -> dict[str, float]:
    """All figures of the official script, given the best spans, the no-answer probabilities and this threshold.

    Given the abstaining predictions instead, it says the same, but for a quirk: there it counts an empty prediction as
    right where all gold answers are articles or punctuation.
    """
    questions = [outcome.question for outcome in outcomes]
    return squad.evaluate(questions, forced(outcomes), na_probs(outcomes), probability(-threshold))


def operating_point(outcomes: Sequence[Outcome], threshold: float, *, seed: int = 0) -> OperatingPoint:
    """Score under one threshold; `seed` is that of the intervals."""
    figures = official_scores(outcomes, threshold)
    titles = [outcome.question.article for outcome in outcomes]
    exact, f1 = zip(*(outcome.scores(threshold) for outcome in outcomes), strict=True)
    return OperatingPoint(
        threshold=threshold,
        na_prob=probability(-threshold),
        answered=sum(outcome.answered(threshold) for outcome in outcomes) / len(outcomes),
        scores={key: value for key, value in figures.items() if not key.startswith(("best_", "pr_"))},
        exact_interval=interval([100 * score for score in exact], titles, seed=seed),
        f1_interval=interval([100 * score for score in f1], titles, seed=seed),
    )


def side_by_side(outcomes: Sequence[Outcome], tuned: float, *, seed: int = 0) -> dict[str, OperatingPoint]:
    """Score under threshold zero, the recipe's (`tuned`), the best one in hindsight (`oracle`), and none (`forced`)."""
    named = {"zero": 0.0, "tuned": tuned, "oracle": oracle(outcomes), "forced": ALWAYS}
    return {name: operating_point(outcomes, threshold, seed=seed) for name, threshold in named.items()}


def oracle(outcomes: Sequence[Outcome]) -> float:
    """The null threshold with the best F1 on these very questions; inf where it is best never to answer."""
    highest = official_scores(outcomes, ALWAYS)["best_f1_thresh"]
    return min((outcome.margin for outcome in outcomes if outcome.na_prob <= highest), default=NEVER)


def forced(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The best span of each question, by its id."""
    return {outcome.question.id: outcome.prediction for outcome in outcomes}


def abstaining(outcomes: Sequence[Outcome], threshold: float) -> dict[str, str]:
    """The answer of each question under a null threshold, by its id; "" for no answer."""
    return {outcome.question.id: outcome.prediction if outcome.answered(threshold) else "" for outcome in outcomes}


def na_probs(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The no-answer probability of each question, by its id."""
    return {outcome.question.id: outcome.na_prob for outcome in outcomes}
