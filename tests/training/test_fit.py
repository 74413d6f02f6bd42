"""Fitting on made-up questions whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odqa.errors import ConfigError, DataError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.reader.calibration import Features
from odqa.training.fit import (
    COVERAGES,
    Read,
    Scored,
    certify,
    check_writable,
    decision,
    fit,
    logistic_regression,
    margin_bound,
    probabilities,
    scored,
)
from odqa.types import Hit, Passage, Reading, Span

LEVELS = np.array([0.9, 0.8, 0.7, 0.6, 0.5])


def made(number: int, rng: np.random.Generator, *, title: str = "") -> Read:
    """A question over four passages; the first holds "right" with a margin that is higher where it is right."""
    score = rng.normal(0, 3)
    answerable = rng.random() < 1 / (1 + math.exp(-score))
    passages = [Passage(f"d{number}-{row}", f"right{row} and wrong") for row in range(4)]
    hits = [Hit(passage, 1.0 - row / 10, relevance=-2.0 * row) for row, passage in enumerate(passages)]
    margins = [score, *rng.normal(-3, 1, 3)]
    readings = [Reading((Span(0, 6, float(margin)),)) for margin in margins]
    answers = (GoldAnswer("right0", 0),) if answerable else ()
    question = Question(f"q{number}", "?", passages[0].text, title, "", answers, is_impossible=not answerable)
    return Read(question, hits, readings)


def many(count: int, seed: int, articles: int = 20) -> list[Read]:
    rng = np.random.default_rng(seed)
    return [made(number, rng, title=f"t{number % articles}") for number in range(count)]


def test_logistic_regression_finds_the_weights_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 2, (20_000, 4))
    truth = np.array([0.8, -0.3, 0.5, 1.0])
    chances = 1 / (1 + np.exp(-(features @ truth - 0.7)))
    for shares in (chances, (rng.random(20_000) < chances).astype(float)):
        found = logistic_regression(features, shares)
        weights = [found.score, found.relevance, found.lead, found.support]
        assert weights == pytest.approx(truth, abs=0.1)
        assert found.intercept == pytest.approx(-0.7, abs=0.1)


def test_questions_that_all_come_out_alike_can_not_be_fitted() -> None:
    with pytest.raises(DataError, match="of 3 questions, 3 come out one way"):
        logistic_regression(np.zeros((3, 4)), np.ones(3))
    with pytest.raises(DataError, match="of 3 questions, 0 come out one way"):
        logistic_regression(np.zeros((3, 4)), np.zeros(3))


def test_the_bound_changes_no_more_answers_than_allowed_and_saves_reading() -> None:
    read = many(1_000, seed=1)
    done = fit({"mode": "dense"}, read, many(1_000, seed=2), confidence=0.9)
    assert done.passages_read < 4
    bound, threshold = margin_bound(read, decision(scored(read))), done.calibration.null_threshold
    assert bound == done.calibration.margin_bound
    assert done.calibration.threshold_of == "probabilities"
    # By hand: the first passage always settles these, since the others never reach an answer.
    assert bound < 5
    assert -2 < threshold < 2


def test_fitted_probabilities_are_those_that_made_the_data() -> None:
    done = fit({"mode": "dense"}, many(4_000, seed=3), many(100, seed=4), confidence=0.9)
    assert done.error < 0.03
    # A score of s is right with logistic(s); the other features say nothing more.
    for score in (-2.0, 0.0, 2.0):
        about = Features(score, 0.0, 5.0, 0.0)
        assert done.calibration.right.probability(about) == pytest.approx(1 / (1 + math.exp(-score)), abs=0.08)
        both = done.calibration.right.probability(about) + done.calibration.no_answer.probability(about)
        assert both == pytest.approx(1.0, abs=0.02)


def test_a_probability_of_being_right_is_fitted_to_token_f1_and_a_risk_to_what_is_exactly_right() -> None:
    """The best answer is always "right0": of the two words of the gold answers, one; an F1 of 2/3."""
    read = [
        replace(one, question=replace(one.question, answers=(GoldAnswer("right0 and", 0),)))
        if one.question.answers
        else one
        for one in many(2_000, seed=6)
    ]
    known = scored(read)
    assert not known.right.any()
    assert np.unique(known.f1) == pytest.approx([0.0, 2 / 3])
    chances = probabilities(decision(known).right, known)
    assert chances.mean() == pytest.approx(known.f1.mean(), abs=0.005)
    assert certify(chances, known, LEVELS, confidence=0.9) == ()


def test_a_certified_risk_is_kept_at_least_as_often_as_promised() -> None:
    rng, broken = np.random.default_rng(5), 0
    for _ in range(200):
        chances = rng.random(600)
        right = (rng.random(600) < chances).astype(float)
        known = Scored(np.zeros((600, 4)), right, right, 1 - right, [f"t{row % 10}" for row in range(600)])
        promised = {kept.risk: kept.probability for kept in certify(chances, known, LEVELS, confidence=0.9)}
        # Answering from p on is wrong with (1 - p) / 2 on average: more than 0.2 below p = 0.6.
        broken += promised.get(0.2, 1.0) < 0.6
        assert promised.get(0.5, 1.0) <= 0.9
    assert broken / 200 <= 0.1 + 0.05


def test_what_can_not_be_kept_is_not_promised() -> None:
    chances = np.linspace(0.5, 1, 400)
    wrong = Scored(
        np.zeros((400, 4)), np.zeros(400), np.zeros(400), np.ones(400), [f"t{row % 8}" for row in range(400)]
    )
    assert certify(chances, wrong, LEVELS, confidence=0.9) == ()
    alone = Scored(np.zeros((400, 4)), np.ones(400), np.ones(400), np.zeros(400), ["t"] * 400)
    assert certify(chances, alone, LEVELS, confidence=0.9) == ()


def test_probabilities_go_by_the_features() -> None:
    features = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    known = Scored(features, np.ones(2), np.ones(2), np.zeros(2), ["a", "b"])
    fitted = logistic_regression(np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]] * 5), np.array([1.0, 0.0] * 5))
    expected = [fitted.probability(Features(*row)) for row in features]
    assert probabilities(fitted, known).tolist() == expected


@pytest.mark.parametrize(("articles", "questions"), [(10, 5), (20, 10), (100, 1)])
def test_few_answers_prove_no_small_risk(articles: int, questions: int) -> None:
    """Probabilities that say nothing, wrong in 5 %: a promise of 2 % may come out in one run of ten."""
    rng, promised = np.random.default_rng(0), 0
    names = [f"t{row // questions}" for row in range(articles * questions)]
    for _ in range(200):
        right = (rng.random(len(names)) < 0.95).astype(float)
        known = Scored(np.zeros((len(names), 4)), right, right, np.zeros(len(names)), names)
        levels = np.quantile(chances := rng.random(len(names)), np.clip(1 - COVERAGES, 0, 1))
        promised += any(kept.risk <= 0.02 for kept in certify(chances, known, levels, confidence=0.9))
    assert promised / 200 <= 0.1 + 0.05


def test_a_place_that_can_not_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Can't write the calibration .*file/cal.json: (Not a directory|File exists)"):
        check_writable(tmp_path / "file" / "cal.json")
    check_writable(tmp_path / "new" / "cal.json")
    assert list((tmp_path / "new").iterdir()) == []
