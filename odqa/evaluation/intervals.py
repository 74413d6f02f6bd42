"""Confidence intervals for means of scores whose questions come in groups.

Questions of one article share its difficulty: an interval that takes them as independent is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError, DataError

_BLOCK = 100
"""Draws that are held in memory at a time."""


def interval(
    scores: Sequence[float] | NDArray[np.float64],
    clusters: Sequence[str],
    *,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of the mean, by a bootstrap that draws whole clusters.

    The same seed draws the same clusters. For the difference of two systems, give the differences of their scores.
    With few clusters the interval is a little narrow. Of a single one the scores are drawn, one by one: then the
    interval speaks of that cluster alone.

    Args:
        scores: One score for each question, in any unit.
        clusters: The cluster of each question, usually the title of its article.
        level: Share of such intervals that should hold the true mean, between 0 and 1.
        samples: Number of draws.
        seed: Of the random numbers.

    Raises:
        DataError: there is no score, one is not finite, or the lengths differ.
        ConfigError: the level or the number of samples is out of range.

    Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application", sections 3.8 and 5.3.
    """
    values = np.asarray(scores, dtype=np.float64)
    _check(values, clusters, level, samples)
    names, rows = np.unique(np.asarray(clusters), return_inverse=True)
    rows = np.arange(len(values)) if len(names) == 1 else rows
    sums = np.bincount(rows, weights=values).astype(np.float64)
    means = _resampled_means(sums, np.bincount(rows), samples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.intp], samples: int, seed: int
) -> NDArray[np.float64]:
    """Means of `samples` draws, with replacement, of as many clusters as there are."""
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    for begin in range(0, samples, _BLOCK):
        block = means[begin : begin + _BLOCK]
        draws = rng.integers(len(sums), size=(len(block), len(sums)), dtype=np.int32)
        block[:] = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return means


def _check(values: NDArray[np.float64], clusters: Sequence[str], level: float, samples: int) -> None:
    if values.shape != (len(clusters),) or not len(clusters):
        raise DataError(f"Scores of shape {values.shape} for {len(clusters)} clusters: give each question one of both.")
    if not np.isfinite(values).all():
        raise DataError(f"Score {np.flatnonzero(~np.isfinite(values))[0]} is not finite: give numbers only.")
    if not 0 < level < 1:
        raise ConfigError(f"The level is {level}: give a number between 0 and 1, like 0.95.")
    if samples < 1:
        raise ConfigError(f"The number of samples is {samples}: give at least 1.")
