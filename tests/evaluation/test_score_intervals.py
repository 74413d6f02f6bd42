"""Intervals against closed forms, and the errors of wrong input."""

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from odqa.errors import ConfigError, DataError
from odqa.evaluation.intervals import interval


def articles(seed, number, spread):
    """Scores of `number` articles of different length whose own means differ by `spread`, and their titles."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 30, size=number)
    means = rng.normal(0.6, spread, size=number)
    scores = np.concatenate([rng.normal(mean, 0.1, size=size) for mean, size in zip(means, sizes, strict=True)])
    return scores, [f"article {n}" for n, size in enumerate(sizes) for _ in range(size)]


def normal_interval(scores, clusters, level):
    """Linearised ratio of sums over clusters: Cochran 1977, "Sampling Techniques", section 9A."""
    mean = scores.mean()
    titles = np.array(clusters)
    residuals = np.array([(scores[titles == title] - mean).sum() for title in sorted(set(clusters))])
    reach = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt((residuals**2).sum()) / len(scores)
    return mean - reach, mean + reach


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_near_the_normal_interval(level):
    scores, clusters = articles(seed=1, number=300, spread=0.2)
    low, high = normal_interval(scores, clusters, level)
    found = interval(scores, clusters, level=level, samples=10000)
    assert found == pytest.approx((low, high), abs=0.05 * (high - low))


def test_questions_of_their_own_are_the_ordinary_bootstrap():
    scores = np.array([1.0] * 300 + [0.0] * 100)
    low, high = interval(scores, [str(n) for n in range(400)], samples=4000)
    reach = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - reach, 0.75 + reach), abs=0.1 * reach)


def test_three_clusters_by_enumeration():
    sums, counts = np.array([1.0, 4.0, 2.0]), np.array([2, 4, 4])
    draws = np.array(list(product(range(3), repeat=3)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    scores = [1, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    found = interval(scores, ["a"] * 2 + ["b"] * 4 + ["c"] * 4, level=0.8, samples=20000)
    assert found == pytest.approx(tuple(np.quantile(means, [0.1, 0.9], method="inverted_cdf")), abs=1e-12)


def test_clusters_make_it_wider():
    scores, clusters = articles(seed=2, number=40, spread=0.3)
    low, high = interval(scores, clusters)
    alone_low, alone_high = interval(scores, [str(n) for n in range(len(scores))])
    assert high - low > 2 * (alone_high - alone_low)


def test_one_article_s_questions_are_drawn_one_by_one():
    scores = [0.0, 1.0] * 50
    assert interval(scores, ["a"] * 100) == interval(scores, [str(row) for row in range(100)])


def test_equal_scores_have_no_width():
    assert interval([1.0] * 4, ["a", "b", "b", "c"]) == (1.0, 1.0)


def test_same_seed_same_interval_and_another_differs():
    scores, clusters = articles(seed=3, number=10, spread=0.2)
    assert interval(scores, clusters, seed=5) == interval(scores, clusters, seed=5)
    assert interval(scores, clusters, seed=5) != interval(scores, clusters, seed=6)


def test_moves_with_shift_and_unit():
    scores, clusters = articles(seed=4, number=10, spread=0.2)
    low, high = interval(scores, clusters)
    assert interval(100 * scores - 7, clusters) == pytest.approx((100 * low - 7, 100 * high - 7))


def test_order_of_questions_does_not_matter():
    scores, clusters = articles(seed=5, number=10, spread=0.2)
    found = interval(scores[::-1], clusters[::-1])
    assert found == pytest.approx(interval(scores, clusters), abs=1e-12)


@pytest.mark.parametrize(("scores", "clusters"), [([1.0], ["a", "b"]), ([[1.0, 2.0]], ["a", "b"]), ([], [])])
def test_lengths_that_differ(scores, clusters):
    with pytest.raises(DataError, match=rf"for {len(clusters)} clusters: give each question one of both"):
        interval(scores, clusters)


def test_score_that_is_not_finite():
    with pytest.raises(DataError, match="Score 1 is not finite"):
        interval([1.0, float("nan")], ["a", "b"])


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_out_of_range(level):
    with pytest.raises(ConfigError, match=rf"level is {level}: give a number between 0 and 1"):
        interval([1.0], ["a"], level=level)


def test_no_samples():
    with pytest.raises(ConfigError, match="samples is 0: give at least 1"):
        interval([1.0], ["a"], samples=0)
