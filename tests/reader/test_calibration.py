"""Probabilities from features, and what a promised risk asks for: worked examples."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from odqa.errors import ModelError
from odqa.reader import Reader, calibration
from odqa.reader.calibration import Calibration, Features, Logistic, Risk
from odqa.reader.ranking import Choice, best, rank
from odqa.recipes import ReaderRecipe
from odqa.types import Hit, Passage, Reading, Span

FIRST, SECOND = Passage("d1", "Paris is in France."), Passage("d2", "France, not Spain.")
HITS = [Hit(FIRST, 0.5, relevance=1.0), Hit(SECOND, 0.4, relevance=-2.0)]
READINGS = [Reading((Span(12, 18, 2.0),)), Reading((Span(0, 6, 4.0), Span(12, 17, 3.5)))]
LOGISTIC = Logistic(intercept=-1.0, score=0.5, relevance=0.25, lead=0.1, support=2.0)
FITTED = Calibration(
    null_threshold=1.0,
    right=LOGISTIC,
    no_answer=Logistic(score=-1.0),
    risks=(Risk(risk=0.3, probability=0.6), Risk(risk=0.1, probability=0.95)),
    retriever={"mode": "hybrid", "sparse_weight": 1.0},
)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_features_of_the_best_answer_by_hand() -> None:
    found = best(HITS, READINGS)
    assert found is not None
    evidence, about = found
    assert evidence.text == "France"
    assert about == Features(score=3.0, relevance=1.0, lead=1.5, support=pytest.approx(math.log(1 + math.exp(-1))))


def test_an_answer_without_a_rival_leads_by_the_most() -> None:
    found = best(HITS[:1], READINGS[:1])
    assert found is not None
    assert found[1] == Features(score=3.0, relevance=1.0, lead=10.0, support=0.0)
    assert best(HITS[:1], [Reading(())]) is None


def test_probabilities_are_those_of_the_calibration() -> None:
    ranked = rank(HITS, READINGS, 1.0, Choice(5), FITTED)
    first = -1 + 0.5 * 3 + 0.25 * 1 + 0.1 * 1.5 + 2 * math.log(1 + math.exp(-1))
    second = -1 + 0.5 * 1.5 + 0.25 * -2 + 0.1 * -1.5
    assert [answer.text for answer in ranked.answers] == ["France", "Spain"]
    assert [answer.probability for answer in ranked.answers] == pytest.approx([sigmoid(first), sigmoid(second)])
    assert ranked.no_answer_probability == pytest.approx(sigmoid(-3.0))


@pytest.mark.parametrize(
    ("max_risk", "least"), [(0.5, 0.6), (0.3, 0.6), (0.29, 0.95), (0.1, 0.95), (0.09, math.inf), (0.0, math.inf)]
)
def test_a_risk_is_promised_only_where_it_was_certified(max_risk: float, least: float) -> None:
    assert FITTED.least_probability(max_risk) == least


def test_max_risk_answers_from_the_certified_probability_on() -> None:
    certain = FITTED.model_copy(update={"right": Logistic(intercept=1.0)})  # 0.73 for every answer
    assert rank(HITS, READINGS, 1.0, Choice.of(5, "threshold", 0.3), certain).answers
    assert rank(HITS, READINGS, 1.0, Choice.of(5, "threshold", 0.1), certain).answers == ()
    untried = certain.model_copy(update={"risks": None})
    assert rank(HITS, READINGS, 1.0, Choice.of(5, "threshold", 0.28), untried).answers
    assert rank(HITS, READINGS, 1.0, Choice.of(5, "threshold", 0.26), untried).answers == ()


def test_the_threshold_holds_for_the_margin_or_for_what_the_probabilities_say() -> None:
    # "France" has a margin of 2; for "no answer" there are log-odds of -3.
    right = -1 + 0.5 * 3 + 0.25 * 1 + 0.1 * 1.5 + 2 * math.log(1 + math.exp(-1))
    by_chance = FITTED.model_copy(update={"threshold_of": "probabilities"})
    for fitted, least in ((FITTED, 2.0), (by_chance, right + 3.0)):
        given, lost = (rank(HITS, READINGS, least + by, Choice(1), fitted).answers for by in (-0.01, 0.01))
        assert given[0].text == "France"
        assert "France" not in [answer.text for answer in lost]
    assert by_chance.with_margin(2.01) == FITTED.model_copy(update={"null_threshold": 2.01})


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / calibration.FILE
    path.write_text(FITTED.model_dump_json())
    assert calibration.read(path) == FITTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no calibration"),
        ("{}", "null_threshold: Field required"),
        ('{"null_threshold": NaN, "right": {}, "no_answer": {}}', "null_threshold"),
        ('{"null_threshold": 1, "right": {"slope": 2}, "no_answer": {}}', "right.slope"),
    ],
)
def test_files_that_are_no_calibration_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / calibration.FILE
    path.write_text(content)
    with pytest.raises(ModelError, match=message):
        calibration.read(path)
    with pytest.raises(ModelError, match="No such file.*odqa calibrate"):
        calibration.read(tmp_path / "none.json")


def test_a_difference_between_retrievers_is_named() -> None:
    assert calibration.difference(FITTED, {"sparse_weight": 1.0, "mode": "hybrid"}) == ""
    assert calibration.difference(FITTED, {"mode": "hybrid", "sparse_weight": 2.0}) == "sparse_weight was 1.0, now 2.0"
    assert calibration.difference(FITTED, {"mode": "hybrid", "embedder": "a"}) == "embedder was None, now 'a'"


def test_a_reader_alone_brings_its_own(tmp_path: Path, reader_folder: Path) -> None:
    assert calibration.of_reader(tmp_path) is None
    folder = tmp_path / "reader"
    shutil.copytree(reader_folder, folder)
    (folder / "reader.json").write_text(
        json.dumps({"null_threshold": 1.0, "calibration": FITTED.model_dump(mode="json") | {"risks": None}})
    )
    recipe = ReaderRecipe(model=str(folder), max_length=48, doc_stride=16, max_answer_length=8)
    reader = Reader(recipe, device="cpu")
    question, text = "who led the normans?", "Rollo was a Viking who led the Normans."
    answer = reader.answer(question, text, abstain="never").answers[0]
    found = best([Hit(Passage("", text), 0.0)], reader.read([(question, text)]))
    assert found is not None
    assert answer.probability == pytest.approx(LOGISTIC.probability(found[1]))
    assert reader.probability(2.0) == pytest.approx(sigmoid(-1.0 + 0.5 * 2 + 0.1 * 10))
    (folder / "reader.json").write_text('{"null_threshold": 1.0, "calibration": {"slope": 1}}')
    with pytest.raises(ModelError, match=r'reader.json: "calibration" is none'):
        calibration.of_reader(folder)
