"""A reader's report: its files against the official scores of those files, and every error on the way."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from odqa import models
from odqa.errors import ConfigError, DataError, ModelError
from odqa.evaluation import rouge, squad, thresholds
from odqa.evaluation.dataset import Question, load
from odqa.evaluation.intervals import interval
from odqa.evaluation.mistakes import Kind, pieces
from odqa.evaluation.outcomes import Outcome, sample, score
from odqa.evaluation.reader import ReaderReport, evaluate_reader
from odqa.evaluation.report import evaluate_to_folder, rendered, write
from odqa.reader import Reader
from odqa.types import Span
from tests.evaluation import made

FILES = {"predictions.json", "predictions_forced.json", "na_probs.json", "report.json", "report.md", "report.html"}
MAIN = ("exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact", "NoAns_f1", "NoAns_total")


@pytest.fixture(scope="session")
def tuned_reader(reader: Reader) -> Reader:
    """The tiny reader, with a threshold that half of its margins reach."""
    questions = made.questions(reader)
    margins = sorted(outcome.margin for outcome in evaluate_reader(reader, questions).outcomes)
    recipe = reader.recipe.model_copy(update={"null_threshold": margins[len(margins) // 2]})
    return Reader(recipe, device="cpu")


@pytest.fixture(scope="session")
def questions(tuned_reader: Reader) -> list[Question]:
    return made.questions(tuned_reader)


@pytest.fixture(scope="session")
def report(tuned_reader: Reader, questions: list[Question]) -> ReaderReport:
    return evaluate_reader(tuned_reader, questions, data="tiny.json", available=500, command="odqa eval reader")


@pytest.fixture
def files(report: ReaderReport, tmp_path: Path) -> Callable[[str], Any]:
    write(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    return lambda name: json.loads((tmp_path / name).read_text(encoding="utf-8"))


def test_the_scores_are_those_of_the_files(files: Callable[[str], Any], questions: list[Question]) -> None:
    body, forced, na_probs = files("report.json"), files("predictions_forced.json"), files("na_probs.json")
    data = made.official(questions)
    assert body["scores"] == squad.evaluate(data, forced, na_probs, body["thresholds"]["tuned"]["na_prob"])
    plain = squad.evaluate(data, files("predictions.json"))
    assert {key: body["scores"][key] for key in MAIN} == plain
    for point in body["thresholds"].values():
        figures = squad.evaluate(data, forced, na_probs, point["na_prob"])
        assert point["scores"] == {key: figures[key] for key in MAIN}


def test_the_rouge_figures_are_those_of_the_files(files: Callable[[str], Any], questions: list[Question]) -> None:
    found = files("report.json")["rouge"]
    assert found["abstaining"] == rouge.evaluate(questions, files("predictions.json"))
    assert found["forced"] == rouge.evaluate(questions, files("predictions_forced.json"))
    assert found["published"] == {"rouge1": 0.354, "HasAns_rouge1": 0.708}
    assert "white space" in found["note"]


def test_every_threshold_is_the_official_one(report: ReaderReport) -> None:
    """Applying a margin and applying its no-answer probability give the same answers."""
    forced, na_probs = thresholds.forced(report.outcomes), thresholds.na_probs(report.outcomes)
    margins = sorted(outcome.margin for outcome in report.outcomes)
    for margin in [*margins, 0.0, -math.inf, math.inf]:
        highest = thresholds.probability(-margin)
        official = {name: "" if na_probs[name] > highest else text for name, text in forced.items()}
        assert thresholds.abstaining(report.outcomes, margin) == official


def test_no_answer_probability_falls_as_the_margin_rises(report: ReaderReport) -> None:
    by_margin = sorted(report.outcomes, key=lambda outcome: outcome.margin)
    na_probs = [outcome.na_prob for outcome in by_margin]
    assert na_probs == sorted(na_probs, reverse=True)
    assert all(0 <= na_prob <= 1 for na_prob in na_probs)
    assert na_probs == pytest.approx([1 / (1 + math.exp(outcome.margin)) for outcome in by_margin])


def test_the_points_stand_in_their_order(report: ReaderReport) -> None:
    points = report.thresholds
    assert list(points) == ["zero", "tuned", "oracle", "forced"]
    assert points["zero"].threshold == 0
    assert points["oracle"].scores["f1"] == pytest.approx(report.scores["best_f1"])
    assert points["oracle"].na_prob == report.scores["best_f1_thresh"]
    assert points["oracle"].scores["f1"] >= max(point.scores["f1"] for point in points.values())
    assert (points["forced"].answered, points["forced"].scores["NoAns_exact"]) == (1.0, 0.0)
    assert points["tuned"].answered == pytest.approx(0.5, abs=0.05)


def test_intervals_are_clustered_by_article(report: ReaderReport, questions: list[Question]) -> None:
    texts = thresholds.abstaining(report.outcomes, report.tuned.threshold)
    scored = squad.scores_by_question(questions, texts)
    titles = [question.title for question in questions]
    assert report.tuned.exact_interval == interval([100 * value for value in scored.exact], titles)
    assert report.tuned.f1_interval == interval([100 * value for value in scored.f1], titles)
    assert report.tuned.f1_interval[0] < report.scores["f1"] < report.tuned.f1_interval[1]


def test_articles_add_up(report: ReaderReport) -> None:
    assert len(report.articles) == 8
    assert sum(article.questions for article in report.articles) == report.scores["total"]
    assert sum(article.answerable for article in report.articles) == report.scores["HasAns_total"]
    for key in ("exact", "f1"):
        weighted = sum(getattr(article, key) * article.questions for article in report.articles)
        assert weighted / report.scores["total"] == pytest.approx(report.scores[key])
    assert [article.f1 for article in report.articles] == sorted(article.f1 for article in report.articles)


def test_mistakes_add_up(report: ReaderReport) -> None:
    found, total = report.mistakes, report.scores["total"]
    assert sum(found.values()) == total
    assert min(found.values()) > 0  # the made questions hold every kind
    assert 100 * found["right"] / total == pytest.approx(report.scores["exact"])
    impossible = report.scores["NoAns_total"]
    assert 100 * (1 - found["wrongly_answered"] / impossible) == pytest.approx(report.scores["NoAns_exact"])


def test_examples_show_the_mistake_in_its_passage(report: ReaderReport, questions: list[Question]) -> None:
    by_id = {question.id: question for question in questions}
    answers = thresholds.abstaining(report.outcomes, report.tuned.threshold)
    assert {example.kind for example in report.examples} == set(Kind) - {Kind.RIGHT}
    for example in report.examples:
        question = by_id[example.id]
        assert "".join(piece.text for piece in example.passage) == question.context
        assert "".join(piece.text for piece in example.passage if piece.predicted) == example.prediction
        assert (answers[example.id] == "") is (example.kind is Kind.WRONGLY_ABSTAINED)
        assert (not example.gold) is (example.kind is Kind.WRONGLY_ANSWERED)
        assert (example.f1 == 0) or example.kind in (Kind.PARTLY_RIGHT, Kind.WRONGLY_ABSTAINED)


def test_pieces_by_hand() -> None:
    found = pieces("abcdefgh", (1, 4), [(3, 6), (3, 5)])
    assert [(piece.text, piece.predicted, piece.gold) for piece in found] == [
        ("a", False, False),
        ("bc", True, False),
        ("d", True, True),
        ("e", False, True),
        ("f", False, True),
        ("gh", False, False),
    ]
    assert [piece.text for piece in pieces("ab", (0, 0), [])] == ["ab"]
    assert pieces("", (0, 0), []) == ()


def test_reliability_is_of_the_best_span(report: ReaderReport) -> None:
    assert sum(one.questions for one in report.reliability.bins) == report.scores["total"]
    right = sum(one.questions * one.right for one in report.reliability.bins)
    assert right == pytest.approx(sum(one.exact for one in report.outcomes if not one.question.is_impossible))


def test_the_report_says_where_it_comes_from(tuned_reader: Reader, questions: list[Question], tmp_path: Path) -> None:
    data = made.write(questions, tmp_path / "tiny.json")
    found = evaluate_to_folder(
        tuned_reader.recipe, str(data), tmp_path / "new" / "out", limit=20, seed=3, command="odqa eval reader ..."
    )
    body = json.loads((tmp_path / "new" / "out" / "report.json").read_text(encoding="utf-8"))
    source = body["provenance"]
    assert source["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert source["fingerprint"] == models.fingerprint(Path(tuned_reader.recipe.model))
    assert source["settings"]["null_threshold"] == tuned_reader.recipe.null_threshold
    assert (source["available"], source["seed"], body["scores"]["total"]) == (96, 3, 20)
    assert source["command"] == "odqa eval reader ..."
    assert {"odqa", "python", "torch", "transformers"} <= set(source["versions"])
    assert body["seconds"] > 0
    assert [one.question for one in found.outcomes] == sample(load(data), 20, seed=3)


def test_the_same_run_gives_the_same_files(
    report: ReaderReport, tuned_reader: Reader, questions: list[Question]
) -> None:
    again = evaluate_reader(tuned_reader, questions, data="tiny.json", available=500, command="odqa eval reader")
    again = replace(again, seconds=report.seconds, questions_per_second=report.questions_per_second)
    assert rendered(again) == rendered(report)


def test_every_field_is_in_the_json_but_the_outcomes(report: ReaderReport) -> None:
    assert set(report.__slots__) - set(report.to_dict()) == {"outcomes"}
    assert set(report.examples[0].__slots__) == set(report.to_dict()["examples"][0])


def test_a_passage_without_a_token_has_no_answer(reader: Reader, tmp_path: Path) -> None:
    blank = Question("a", "who?", " ", "T", "T-0", (), is_impossible=True)
    found = evaluate_reader(reader, [blank])
    assert found.outcomes[0] == Outcome(blank, "", 0, 0, -math.inf, 1, 1)
    assert found.scores["exact"] == 100.0
    write(found, tmp_path)
    body = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert body["thresholds"]["forced"]["threshold"] is None
    assert json.loads((tmp_path / "na_probs.json").read_text()) == {"a": 1.0}
    assert "no answerable question" in (tmp_path / "report.html").read_text()


def test_a_sample_is_random_seeded_and_in_order(questions: list[Question]) -> None:
    chosen = sample(questions, 30, seed=1)
    assert chosen == [question for question in questions if question in chosen]
    assert len(chosen) == 30
    assert chosen == sample(questions, 30, seed=1) != sample(questions, 30, seed=2)
    assert chosen != questions[:30]
    assert sample(questions, None) == sample(questions, 96) == sample(questions, 1000) == questions


def test_wrong_questions_are_named(reader: Reader, questions: list[Question]) -> None:
    with pytest.raises(DataError, match="no question to evaluate"):
        evaluate_reader(reader, [])
    with pytest.raises(DataError, match='Question "q0-0" can\'t be asked. The question has'):
        evaluate_reader(reader, [replace(questions[0], question="why " * 60)])
    with pytest.raises(DataError, match='Question "q0-0" can\'t be asked. The question is empty'):
        evaluate_reader(reader, [*questions[1:], replace(questions[0], question=" ")])
    with pytest.raises(DataError, match="1 questions repeat an id"):
        score(questions[:1] * 2, [Span(0, 1, 0.0)] * 2)


def test_a_folder_of_other_things_is_left_alone(reader: Reader, questions: list[Question], tmp_path: Path) -> None:
    data, out = str(made.write(questions, tmp_path / "tiny.json")), tmp_path / "out"
    out.mkdir()
    foreign = out / "report.json"
    for text in ("mine", "[]", '{"report": "other"}'):
        foreign.write_text(text)
        with pytest.raises(ConfigError, match="out holds other files and no report of a reader: give a new or empty"):
            evaluate_to_folder(reader.recipe, data, out)
        assert foreign.read_text() == text
    with pytest.raises(ConfigError, match="Can't write a report to .*tiny.json"):
        evaluate_to_folder(reader.recipe, data, Path(data))


def test_an_earlier_report_is_replaced(reader: Reader, questions: list[Question], tmp_path: Path) -> None:
    data, out = str(made.write(questions, tmp_path / "tiny.json")), tmp_path / "out"
    for limit in (5, 6):
        evaluate_to_folder(reader.recipe, data, out, limit=limit)
        assert len(json.loads((out / "predictions.json").read_text())) == limit


def test_bad_input_is_refused_before_anything_is_read(
    reader: Reader, questions: list[Question], tmp_path: Path
) -> None:
    data, out = str(made.write(questions, tmp_path / "tiny.json")), tmp_path / "out"
    with pytest.raises(ConfigError, match="The limit is 0; it must be at least 1"):
        evaluate_to_folder(reader.recipe, data, out, limit=0)
    with pytest.raises(DataError, match="does not exist"):
        evaluate_to_folder(reader.recipe, str(tmp_path / "none.json"), out)
    with pytest.raises(ModelError, match='No model folder "./none"'):
        evaluate_to_folder(reader.recipe.model_copy(update={"model": "./none"}), data, out)
    assert list(out.iterdir()) == []
