"""ROUGE by hand, and its rule for questions without an answer."""

import pytest

from odqa.errors import DataError
from odqa.evaluation import rouge
from odqa.evaluation.dataset import GoldAnswer, Question


def questions(golds):
    return [
        Question(name, "?", "", "T", "T-0", tuple(GoldAnswer(text, 0) for text in texts), is_impossible=not texts)
        for name, texts in golds.items()
    ]


def scores(golds, prediction):
    scored = rouge.scores_by_question(questions({"q": golds}), {"q": prediction})
    return [scored.scores[kind][0] for kind in rouge.TYPES]


@pytest.mark.parametrize(
    ("golds", "prediction", "expected"),
    [
        # Words 3 of 4 and 3 of 3; pairs 1 of 3 and 1 of 2 ("the old"); longest common subsequence 3.
        (["the old red bridge"], "the old bridge", [6 / 7, 2 / 5, 6 / 7]),
        # The same words in another order: one pair of two is shared, the subsequence is "new york".
        (["new york city"], "city new york", [1, 1 / 2, 2 / 3]),
        # Each kind takes its own best gold answer.
        (["red bridge", "the old red bridge"], "red bridge", [1, 1, 1]),
        (["b a", "a b c d"], "a b", [1, 1 / 2, 2 / 3]),
        (["Paris"], "paris!", [1, 0, 1]),  # one word has no pair
        (["Running"], "runs", [0, 0, 0]),  # no stemming
        (["the 12-year war"], "12 year war", [6 / 7, 4 / 5, 6 / 7]),  # a hyphen splits
        (["東京"], "東京", [0, 0, 0]),  # no ASCII letter or digit
        (["Paris"], "London", [0, 0, 0]),
        (["Paris"], "", [0, 0, 0]),
        (["Paris"], "  ", [0, 0, 0]),
        ([], "", [1, 1, 1]),
        ([], " \n", [1, 1, 1]),
        ([], "Paris", [0, 0, 0]),
    ],
)
def test_one_question_by_hand(golds, prediction, expected):
    assert scores(golds, prediction) == pytest.approx(expected)


def test_means_over_all_and_over_the_answerable():
    dataset = questions({"a": ["the old red bridge"], "b": ["Paris"], "c": [], "d": []})
    figures = rouge.evaluate(dataset, {"a": "the old bridge", "b": "", "c": "", "d": "x"})
    assert figures == pytest.approx(
        {
            "rouge1": (6 / 7 + 1) / 4,
            "rouge2": (2 / 5 + 1) / 4,
            "rougeL": (6 / 7 + 1) / 4,
            "total": 4,
            "HasAns_rouge1": 3 / 7,
            "HasAns_rouge2": 1 / 5,
            "HasAns_rougeL": 3 / 7,
            "HasAns_total": 2,
        }
    )


def test_forced_answers_lose_exactly_the_unanswerable_share():
    dataset = questions({"a": ["x y"], "b": ["y"], "c": [], "d": []})
    figures = rouge.evaluate(dataset, {"a": "x", "b": "y", "c": "x", "d": "y"})
    assert figures["rouge1"] == pytest.approx(figures["HasAns_rouge1"] / 2)


def test_only_unanswerable_questions():
    assert rouge.evaluate(questions({"a": []}), {"a": ""}) == {"rouge1": 1, "rouge2": 1, "rougeL": 1, "total": 1}


def test_official_form():
    data = [{"title": "T", "paragraphs": [{"qas": [{"id": "a", "answers": [{"text": "x y"}]}]}]}]
    scored = rouge.scores_by_question({"data": data}, {"a": "x y"})
    assert (scored.ids, scored.has_answer) == (("a",), (True,))
    assert scored.scores == {"rouge1": (1.0,), "rouge2": (1.0,), "rougeL": (1.0,)}


def test_missing_prediction():
    with pytest.raises(DataError, match=r'1 of 1 questions, first "a", lack a prediction'):
        rouge.evaluate(questions({"a": []}), {})
