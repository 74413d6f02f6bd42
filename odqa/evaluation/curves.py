"""Precision over recall, and how far a probability can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """The expected calibration error in 0..1, and the bins that hold a question."""

    expected_calibration_error: float
    bins: tuple[Bin, ...]


def reliability(probabilities: Sequence[float], right: Sequence[float], *, bins: int = 10) -> Reliability:
    """Hold probabilities of being right against how often it was so, in bins of equal width.

    The error is the mean distance of the two over the bins, weighted by their questions.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
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
    return Reliability(error, tuple(filled))


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
