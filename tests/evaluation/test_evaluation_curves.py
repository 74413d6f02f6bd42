"""Reliability by hand, and curves against the official average precisions."""

from __future__ import annotations

import random

import numpy as np
import pytest

from odqa.evaluation import squad
from odqa.evaluation.curves import precision_recall, reliability
from odqa.evaluation.dataset import GoldAnswer, Question


def test_reliability_by_hand() -> None:
    found = reliability([0.0, 0.05, 0.55, 0.59, 1.0], [0, 1, 1, 0, 1])
    assert [(one.low, one.high, one.questions, one.right) for one in found.bins] == [
        (0.0, 0.1, 2, 0.5),
        (0.5, 0.6, 2, 0.5),
        (0.9, 1.0, 1, 1.0),
    ]
    assert [one.probability for one in found.bins] == pytest.approx([0.025, 0.57, 1.0])
    assert found.expected_calibration_error == pytest.approx((2 * 0.475 + 2 * 0.07 + 0) / 5)


def test_probabilities_that_hold_what_they_promise_have_no_error() -> None:
    found = reliability([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0], bins=2)
    assert found.expected_calibration_error == 0


def test_the_area_is_the_official_average_precision() -> None:
    draw = random.Random(5)  # noqa: S311
    golds = [[] if draw.random() < 0.4 else [draw.choice(["red", "red dog"])] for _ in range(400)]
    questions = [
        Question(f"q{n}", "?", "", "T", "T-0", tuple(GoldAnswer(text, 0) for text in texts), is_impossible=not texts)
        for n, texts in enumerate(golds)
    ]
    predictions = {question.id: draw.choice(["red", "red dog", "cat"]) for question in questions}
    na_probs = {question.id: draw.randint(0, 50) / 50 for question in questions}  # with ties
    figures = squad.evaluate(questions, predictions, na_probs)
    scored = squad.scores_by_question(questions, predictions)
    answerable = sum(scored.has_answer)
    for key, values in (("pr_exact_ap", scored.exact), ("pr_f1_ap", scored.f1), ("pr_oracle_ap", [1.0] * 400)):
        gains = [value * has for value, has in zip(values, scored.has_answer, strict=True)]
        recall, precision = precision_recall(list(na_probs.values()), gains, answerable)
        assert (recall[0], precision[0]) == (0, 1)
        assert 100 * float(np.sum(np.diff(recall) * precision[1:])) == pytest.approx(figures[key])
