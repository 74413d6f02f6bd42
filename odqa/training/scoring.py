"""Scores of a reader on held-out questions, each against its own passage, and the threshold that they suggest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odqa.evaluation.dataset import Question
from odqa.evaluation.outcomes import Outcome, best_spans, score
from odqa.reader import Reader

_BLUR = 1.0
"""Standard deviation of the blur of `tuned_threshold`, in log-odds."""
_STEP = 0.01
"""Distance of the thresholds that it tries, in log-odds."""


def outcomes(reader: Reader, questions: Sequence[Question]) -> tuple[Outcome, ...]:
    """What the reader finds in each question's own passage, and how right that is."""
    return score(questions, best_spans(reader, questions))


def tuned_threshold(found: Sequence[Outcome]) -> float:
    """The null threshold with the best expected F1, had every margin a normal error of one unit of log-odds.

    On a few thousand questions the sum of gains has many peaks of nearly one height, and which is the highest hangs on
    a handful of them; blurred, the threshold serves other questions better. 0 where nothing has a token to answer with.
    """
    from scipy.ndimage import gaussian_filter1d

    readable = [one for one in found if one.prediction]
    if not readable:
        return 0.0
    margins = np.array([one.margin for one in readable])
    gains = np.array([-1.0 if one.question.is_impossible else one.f1 for one in readable])
    order = np.argsort(margins)
    totals = np.concatenate([np.cumsum(gains[order][::-1])[::-1], [0.0]])  # of answering all from the first, second...
    thresholds = np.arange(margins.min() - 4 * _BLUR, margins.max() + 4 * _BLUR, _STEP)
    answered = totals[np.searchsorted(margins[order], thresholds)]
    blurred = gaussian_filter1d(answered, _BLUR / _STEP, mode="nearest")
    return float(thresholds[blurred.argmax()])


def best_threshold(margins: NDArray[np.float64], gains: NDArray[np.float64], *, spare: float = 0.0) -> float:
    """The lowest threshold with the largest sum of gains, or with at most `spare` less.

    It lies half-way between the last margin to answer and the first not to, so that it doesn't hang on the last digit
    of one question's logits.

    Args:
        margins: Finite, (questions,).
        gains: What answering each question instead of abstaining adds, (questions,).
        spare: What of the sum may be given up to answer more.
    """
    if not len(margins):
        return 0.0
    order = np.argsort(-margins, kind="stable")
    margins, gains = margins[order], gains[order]
    edges = np.concatenate([[margins[0] + 2], margins, [margins[-1] - 2]])
    totals = np.concatenate([[0.0], np.cumsum(gains)])  # of answering the first 0, 1, 2... of them
    totals[edges[:-1] <= edges[1:]] = -np.inf  # no threshold lies between equal margins
    best = int(np.flatnonzero(totals >= totals.max() - spare)[-1])
    return float((edges[best] + edges[best + 1]) / 2)
