"""Worked examples of the official SQuAD figures, and every error of the evaluator."""

import math

import pytest

from odqa.errors import DataError
from odqa.evaluation import squad
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.text import normalize_answer


def official(golds):
    """The official object with one paragraph that has a question for each list of gold answers."""
    qas = [
        {"id": name, "question": "?", "is_impossible": not texts, "answers": [{"text": text} for text in texts]}
        for name, texts in golds.items()
    ]
    return {"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "", "qas": qas}]}]}


GOLDS = official({"a1": ["the Eiffel Tower"], "a2": ["red fox", "quick red fox"], "n1": [], "n2": []})
PREDICTIONS = {"a1": "Eiffel Tower!", "a2": "a brown fox", "n1": "", "n2": "London"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  quick, (brown) fox", "quick brown fox"),
        ("an apple a day", "apple day"),
        ("theatre", "theatre"),
        ("a-b", "ab"),
        ("U.S.", "us"),
        ("«naïve» – “so”…", "«naïve» – “so”…"),
        ("“the” answer", "“ ” answer"),
        ("100\u00a0%", "100"),
        ("ÉTÉ", "été"),
        ("A.", ""),
        ("", ""),
    ],
)
def test_normalisation_by_hand(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("gold", "prediction", "exact", "f1"),
    [
        ("the cat", "Cat.", 1, 1),
        ("red fox", "brown fox", 0, 0.5),
        ("quick red fox", "brown fox", 0, 0.4),  # precision 1/2, recall 1/3
        ("new york new york", "new york", 0, 2 / 3),  # precision 1, recall 2/4
        ("Paris", "London", 0, 0),
        ("", "", 1, 1),
        ("", "the", 1, 1),
        ("", "Paris", 0, 0),
        ("Paris", "", 0, 0),
        ("“Paris”", "Paris", 0, 0),  # typographic quotes are not stripped
    ],
)
def test_one_pair_by_hand(gold, prediction, exact, f1):
    assert squad.exact_match(gold, prediction) == exact
    assert squad.f1(gold, prediction) == pytest.approx(f1, abs=1e-15)


def test_figures_by_hand():
    # a1 is right; a2 has F1 1/2 with "red fox" and 2/5 with "quick red fox"; n1 is right; n2 is wrong.
    assert squad.evaluate(GOLDS, PREDICTIONS) == {
        "exact": 50.0,
        "f1": 62.5,
        "total": 4,
        "HasAns_exact": 50.0,
        "HasAns_f1": 75.0,
        "HasAns_total": 2,
        "NoAns_exact": 50.0,
        "NoAns_f1": 50.0,
        "NoAns_total": 2,
    }


def test_best_thresholds_and_precision_by_hand():
    # Sweep a1, n2, a2, n1. Exact: 2 +1 -1 +0 +0, best 3 at 0.1. F1: 2 +1 -1 +0.5 +0, best 3 at 0.1.
    na_probs = {"a1": 0.1, "n2": 0.2, "a2": 0.3, "n1": 0.9}
    figures = squad.evaluate(GOLDS, PREDICTIONS, na_probs)
    assert list(figures)[9:] == [
        "best_exact",
        "best_exact_thresh",
        "best_f1",
        "best_f1_thresh",
        "pr_exact_ap",
        "pr_f1_ap",
        "pr_oracle_ap",
    ]
    assert [figures[key] for key in list(figures)[9:13]] == [75.0, 0.1, 75.0, 0.1]
    # Found after each step, exact: 1 1 1 1; F1: 1 1 1.5 1.5; oracle: 1 1 2 2; all of 2.
    assert figures["pr_exact_ap"] == 50.0
    assert figures["pr_f1_ap"] == pytest.approx(100 * (0.5 + 0.25 * 1.5 / 3))
    assert figures["pr_oracle_ap"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))


def test_equal_probabilities_make_one_step_of_the_curve():
    figures = squad.evaluate(GOLDS, PREDICTIONS, dict.fromkeys(PREDICTIONS, 0.5))
    assert figures["pr_oracle_ap"] == 50.0  # recall goes from 0 to 1 at precision 2/4


def test_equal_probabilities_keep_their_order():
    first_right = dict.fromkeys(("a1", "n2", "a2", "n1"), 0.5)
    first_wrong = dict.fromkeys(("n2", "a1", "a2", "n1"), 0.5)
    assert squad.evaluate(GOLDS, PREDICTIONS, first_right)["best_exact"] == 75.0
    assert squad.evaluate(GOLDS, PREDICTIONS, first_wrong)["best_exact"] == 50.0


def test_threshold_is_exclusive():
    na_probs = {"a1": 0.5, "n2": 0.5, "a2": 0.6, "n1": 0.0}
    figures = squad.evaluate(GOLDS, PREDICTIONS, na_probs, na_prob_thresh=0.5)
    assert (figures["exact"], figures["f1"]) == (50.0, 50.0)  # a2 counts as empty, a1 and n2 do not
    figures = squad.evaluate(GOLDS, PREDICTIONS, na_probs, na_prob_thresh=0.4)
    assert (figures["exact"], figures["HasAns_exact"], figures["NoAns_exact"]) == (50.0, 0.0, 100.0)


def test_without_probabilities_each_is_zero():
    assert squad.evaluate(GOLDS, PREDICTIONS, na_prob_thresh=-1.0)["NoAns_exact"] == 100.0


def test_gold_answers_that_normalise_to_nothing_are_left_out():
    dataset = official({"q1": ["the", "cat"], "q2": ["The"]})
    figures = squad.evaluate(dataset, {"q1": "", "q2": ""})
    assert (figures["HasAns_total"], figures["HasAns_exact"]) == (2, 50.0)
    assert "NoAns_total" not in figures


def test_only_unanswerable_questions_have_no_curve():
    figures = squad.evaluate(official({"q1": []}), {"q1": ""}, {"q1": 0.3})
    assert figures == {
        "exact": 100.0,
        "f1": 100.0,
        "total": 1,
        "NoAns_exact": 100.0,
        "NoAns_f1": 100.0,
        "NoAns_total": 1,
        "best_exact": 100.0,
        "best_exact_thresh": 0.0,
        "best_f1": 100.0,
        "best_f1_thresh": 0.0,
    }


def test_data_list_and_records_give_the_same():
    records = [
        Question("a1", "?", "", "T", "T-0", (GoldAnswer("the Eiffel Tower", 0),)),
        Question("a2", "?", "", "T", "T-0", (GoldAnswer("red fox", 0), GoldAnswer("quick red fox", 0))),
        Question("n1", "?", "", "T", "T-0", (), is_impossible=True),
        Question("n2", "?", "", "T", "T-0", (), is_impossible=True, plausible=(GoldAnswer("London", 0),)),
    ]
    expected = squad.evaluate(GOLDS, PREDICTIONS)
    assert squad.evaluate(GOLDS["data"], PREDICTIONS) == expected
    assert squad.evaluate(records, PREDICTIONS) == expected


def test_scores_by_question():
    scores = squad.scores_by_question(GOLDS, PREDICTIONS)
    assert scores.ids == ("a1", "a2", "n1", "n2")
    assert scores.exact == (1, 0, 1, 0)
    assert scores.f1 == (1, 0.5, 1, 0)
    assert scores.has_answer == (True, True, False, False)


def test_unknown_questions_are_left_out_of_account():
    na_probs = dict.fromkeys(PREDICTIONS, 0.5)
    expected = squad.evaluate(GOLDS, PREDICTIONS, na_probs)
    assert squad.evaluate(GOLDS, PREDICTIONS | {"x": "y"}, {"x": 0.1} | na_probs) == expected


def test_missing_predictions():
    with pytest.raises(DataError, match=r'^3 of 4 questions, first "a2", "n1", "n2", lack a prediction, "" for no'):
        squad.evaluate(GOLDS, {"a1": "x"})


def test_missing_probabilities():
    with pytest.raises(DataError, match=r'^1 of 4 questions, first "n2", lack a no-answer probability'):
        squad.evaluate(GOLDS, PREDICTIONS, {"a1": 0, "a2": 0, "n1": 0})


def test_prediction_that_is_no_text():
    with pytest.raises(DataError, match=r'prediction of "n1" is None: give a text'):
        squad.evaluate(GOLDS, PREDICTIONS | {"n1": None})


@pytest.mark.parametrize("value", [math.nan, "0.5", None])
def test_probability_that_is_no_number(value):
    with pytest.raises(DataError, match=rf'no-answer probability of "n1" is {value!r}: give a number'):
        squad.evaluate(GOLDS, PREDICTIONS, dict.fromkeys(PREDICTIONS, 0.5) | {"n1": value})


@pytest.mark.parametrize("dataset", [{}, {"data": [{"title": "T"}]}, {"data": None}, ["text"], 3])
def test_not_in_squad_form(dataset):
    with pytest.raises(DataError, match="not in SQuAD form"):
        squad.evaluate(dataset, {})


@pytest.mark.parametrize("dataset", [{"data": []}, []])
def test_no_question(dataset):
    with pytest.raises(DataError, match="holds no question"):
        squad.evaluate(dataset, {})
