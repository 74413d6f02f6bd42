"""Two reports held against each other, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from odqa.errors import ConfigError, DataError
from odqa.evaluation.compare import Verdict, compare
from tests.cli.helpers import odqa, process

TITLES = ["A", "A", "B", "B"]


def write(path: Path, f1: list[float], **changes: Any) -> Path:
    questions = {
        "id": ["a", "b", "c", "d"],
        "title": TITLES,
        "answerable": [True, True, True, False],
        "exact": [float(value == 1) for value in f1],
        "f1": f1,
    }
    body = {"provenance": {"data": "d.json", "data_sha256": "12ab"}, "questions": questions, **changes}
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / "first.json", [1.0, 0.5, 1.0, 1.0])


def test_a_change_by_hand(first: Path, tmp_path: Path) -> None:
    """Of the differences 0, -50, -100, 0, article A has the mean -25 and B -50: draws of two lie between them."""
    second = write(tmp_path / "second.json", [1.0, 0.0, 0.0, 1.0])
    found = {one.key: one for one in compare(first, second, max_drop={"f1": 37.5, "exact": 20})}
    f1, exact = found["f1"], found["exact"]
    assert (f1.first, f1.second, f1.difference, f1.interval) == (87.5, 50.0, -37.5, (-50.0, -25.0))
    assert (f1.verdict, f1.passed, f1.allowed) == (Verdict.WORSE, True, 37.5)
    assert (exact.difference, exact.interval, exact.passed) == (-25.0, (-50.0, 0.0), False)
    assert exact.verdict is Verdict.UNCLEAR
    assert found["HasAns_f1"].difference == pytest.approx(-50)
    assert (found["NoAns_exact"].first, found["NoAns_exact"].difference) == (100.0, 0.0)
    back = {one.key: one for one in compare(second, first)}
    assert (back["f1"].verdict, back["f1"].interval) == (Verdict.BETTER, (25.0, 50.0))


def test_the_same_report_has_no_difference(first: Path) -> None:
    for one in compare(first, first, max_drop={"f1": 0.0}):
        assert (one.difference, one.interval, one.verdict, one.passed) == (0, (0, 0), Verdict.UNCLEAR, True)


def test_the_command_fails_where_the_drop_is_too_large(first: Path, tmp_path: Path) -> None:
    second = write(tmp_path / "second.json", [1.0, 0.0, 0.0, 1.0])
    run = odqa("eval", "compare", str(first), str(second), "--max-drop", "f1=37.5")
    assert run.returncode == 0, run.stderr
    assert "-50.00 to -25.00" in run.stdout
    run = process("eval", "compare", str(first), str(second), "--max-drop", "f1=37.4", "--json")
    assert run.returncode == 1
    assert [one["passed"] for one in json.loads(run.stdout)][:2] == [True, False]
    run = odqa("eval", "compare", str(first), str(second), "--max-drop", "f1")
    assert run.returncode == 2
    assert "write it like f1=0.3" in run.stderr


def test_reports_that_have_nothing_in_common_are_refused(first: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", [1.0] * 4, provenance={"data": "d.json", "data_sha256": "ff"})
    with pytest.raises(DataError, match="first.json is on the data with SHA-256 12ab, .*other.json on with SHA-256 ff"):
        compare(first, other)
    unnamed = write(tmp_path / "other.json", [1.0] * 4, provenance={"data": "squad_v2", "data_sha256": ""})
    with pytest.raises(DataError, match='other.json on "squad_v2": compare reports on the same data'):
        compare(first, unnamed)
    fewer = {"id": ["a"], "title": ["A"], "answerable": [True], "exact": [1], "f1": [1]}
    with pytest.raises(DataError, match="has 4 questions, .* 1, and they share 1: compare reports on the same quest"):
        compare(first, write(tmp_path / "fewer.json", [], questions=fewer))


def test_what_is_no_report_is_refused(first: Path, tmp_path: Path) -> None:
    for text, message in (("mine", "is not JSON"), ("[]", "no scores by question"), ('{"questions": {}}', "no scores")):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(DataError, match=message):
            compare(first, tmp_path / "other.json")
    with pytest.raises(DataError, match=r"none.json can't be read \(No such file"):
        compare(tmp_path / "none.json", first)


def test_drops_that_cannot_be_are_refused(first: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"em" is no score; it must be one of: exact, f1'):
        compare(first, first, max_drop={"em": 1})
    for drop in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="The largest drop of f1 is .*; it must be at least 0"):
            compare(first, first, max_drop={"f1": drop})
    answerable = {"id": ["a"], "title": ["A"], "answerable": [True], "exact": [1], "f1": [1]}
    only = write(tmp_path / "only.json", [], questions=answerable)
    with pytest.raises(ConfigError, match="no question that NoAns_exact is about"):
        compare(only, only, max_drop={"NoAns_exact": 1})
