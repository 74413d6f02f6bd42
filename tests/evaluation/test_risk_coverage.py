"""Risk over coverage and the Brier score, by hand; bare questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from odqa.errors import DataError
from odqa.evaluation.curves import reliability, risk_coverage
from odqa.evaluation.dataset import load


def test_risk_and_coverage_by_hand() -> None:
    """The order is right, wrong, right, wrong: the risks are 0, 1/2, 1/3, 1/2."""
    found = risk_coverage([0.9, 0.1, 0.5, 0.7], [1, 0, 1, 0])
    assert found.coverage == (0.25, 0.5, 0.75, 1.0)
    assert found.risk == pytest.approx((0, 1 / 2, 1 / 3, 1 / 2))
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.least_area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert [found.coverage_at(risk) for risk in (0, 0.34, 0.5)] == [0.25, 0.75, 1.0]
    assert risk_coverage([1.0], [0]).coverage_at(0.5) == 0.0


def test_equal_values_stand_in_random_order() -> None:
    """All alike: whatever the coverage, half of the answers are wrong on average, and only all can be given."""
    found = risk_coverage([1.0] * 4, [1, 0, 0, 1])
    assert (found.area, found.coverage, found.risk) == (0.5, (1.0,), (0.5,))
    lowest = float("-inf")
    assert risk_coverage([lowest, 1.0, lowest], [0, 1, 0]).area == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)


def test_the_brier_score_by_hand() -> None:
    assert reliability([1.0, 0.5, 0.0], [1, 0, 1]).brier == pytest.approx((0 + 0.25 + 1) / 3)


def load_bare(tmp_path: Path, *rows: object) -> list[object]:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(load(path, need_context=False))


def test_bare_questions(tmp_path: Path) -> None:
    row = {"title": "T", "context": "red dog", "answers": {"text": ["red"], "answer_start": [0]}, "id": "q"}
    given = load_bare(
        tmp_path,
        {"question": "a?", "answers": ["x", "y"]},
        {"question": "b?", "answers": {"text": []}, "document_id": "d", "id": "own"},
        {"question": "c?", **row, "document_id": "mine"},
    )
    shown = [(one.id, one.title, one.document_id, one.context, one.is_impossible) for one in given]  # type: ignore[attr-defined]
    assert shown == [("1", "1", "", "", False), ("own", "d", "d", "", True), ("q", "T", "mine", "red dog", False)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answers": ["x"]}, 'line 1 has no "question": add it as a text'),
        ({"question": "a?"}, 'line 1 has no "answers": add it as a list'),
        ({"question": "a?", "answers": [3]}, r"line 1 has 3 as an answer: give texts, or \[\] where there is no"),
        ({"question": "a?", "answers": [""]}, "line 1 has '' as an answer"),
        ({"question": "a?", "answers": ["x"], "is_impossible": True}, "line 1 is marked as impossible but has the ans"),
        ("a?", "expected an object in SQuAD form"),
    ],
)
def test_wrong_bare_questions_are_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_bare(tmp_path, row)


def test_training_still_needs_the_paragraph(tmp_path: Path) -> None:
    load_bare(tmp_path, {"question": "a?", "answers": ["x"]})
    with pytest.raises(DataError, match='line 1 has no "title": add it as a text'):
        load(tmp_path / "mine.jsonl")
