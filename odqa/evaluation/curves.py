"""Precision over recall, risk over coverage, and how far a probability can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bin:
    """The questions whose probability lies in [low, high); their mean probability, and the share that is right."""

    low: float
    high: float
    questions: int
    probability: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """The expected calibration error and the Brier score, both in 0..1, and the bins that hold a question."""

    expected_calibration_error: float
    brier: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """How often answers are wrong as more and more questions are answered, the surest first; all in 0..1.

    Attributes:
        area: Area under the curve (AURC): the mean risk over all coverages; lower is better.
        least_area: The area of an order that puts every right answer first.
        coverage: Share of the questions answered, at each value of the ranking.
        risk: Share of those answers that is wrong.
    """

    area: float
    least_area: float
    coverage: tuple[float, ...] = field(repr=False, metadata={"json": False})
    risk: tuple[float, ...] = field(repr=False, metadata={"json": False})

    def coverage_at(self, risk: float) -> float:
        """The largest share of the questions that can be answered with at most this risk."""
        return max((share for share, wrong in zip(self.coverage, self.risk, strict=True) if wrong <= risk), default=0.0)


def risk_coverage(ranking: Sequence[float], right: Sequence[float]) -> RiskCoverage:
    """Answer the questions by falling `ranking`; equal values stand in random order, of which this is the mean.

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
    """
    values, wrong = np.asarray(ranking, dtype=np.float64), 1 - np.asarray(right, dtype=np.float64)
    _, groups = np.unique(-values, return_inverse=True)
    sizes = np.bincount(groups)
    shares = np.repeat(np.bincount(groups, weights=wrong) / sizes, sizes)
    ends = np.cumsum(sizes)
    risk = (np.cumsum(shares) / np.arange(1, len(shares) + 1))[ends - 1]
    return RiskCoverage(
        _mean_risk(shares), _mean_risk(np.sort(wrong)), tuple((ends / len(shares)).tolist()), tuple(risk.tolist())
    )


def _mean_risk(wrong: NDArray[np.float64]) -> float:
    return float(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))


def reliability(probabilities: Sequence[float], right: Sequence[float], *, bins: int = 10) -> Reliability:
    """Hold probabilities of being right against how often it was so, in bins of equal width.

    The error is the mean distance of the two over the bins, weighted by their questions; the Brier score is the mean
    squared distance over the questions.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3; Brier 1950, "Verification of
    Forecasts Expressed in Terms of Probability".
    """
    values, hits = np.asarray(probabilities), np.asarray(right)
    numbers = np.minimum((values * bins).astype(int), bins - 1)
    filled = [
        Bin(
            low=int(number) / bins,
            high=(int(number) + 1) / bins,
            questions=int((mine := numbers == number).sum()),
            probability=float(values[mine].mean()),
            right=float(hits[mine].mean()),
        )
        for number in np.unique(numbers)
    ]
    error = sum(one.questions * abs(one.probability - one.right) for one in filled) / len(values)
    return Reliability(error, float(np.mean((values - hits) ** 2)), tuple(filled))


def precision_recall(
    na_probs: Sequence[float], gains: Sequence[float], answerable: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision in 0..1 as more and more questions are answered, the surest first.

    The area under them, each precision held back to the recall before it, is the official average precision.

    Args:
        na_probs: The no-answer probability of each question.
        gains: What answering it earns, in 0..1: 0 where it has no answer.
        answerable: Number of questions that have one; at least 1.
    """
    order = np.argsort(np.asarray(na_probs), kind="stable")
    sweep, found = np.asarray(na_probs)[order], np.cumsum(np.asarray(gains, dtype=np.float64)[order])
    steps = np.append(sweep[1:] != sweep[:-1], True)
    precision = found / np.arange(1, len(found) + 1)
    return np.append(0.0, (found / answerable)[steps]), np.append(1.0, precision[steps])
