"""Two reports on the same questions: is one really better, and is the other worse than allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError, DataError
from odqa.evaluation.intervals import interval

KEYS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact")
_COLUMNS = ("id", "title", "answerable", "exact", "f1")


class Verdict(StrEnum):
    """What the interval of a difference says of other articles of this kind."""

    BETTER = "better"
    """All of it lies above 0."""
    WORSE = "worse"
    """All of it lies below 0."""
    UNCLEAR = "no clear difference"
    """It holds 0."""


@dataclass(frozen=True, slots=True)
class Change:
    """One score in two reports, in percent: `difference` is `second - first`, with its 95 % interval.

    `allowed` is the largest drop that is allowed, None where any is; the change is `passed` unless the score fell by
    more on these questions.
    """

    key: str
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    verdict: Verdict
    allowed: float | None
    passed: bool


def compare(first: Path, second: Path, *, max_drop: Mapping[str, float] | None = None, seed: int = 0) -> list[Change]:
    """Compare the scores under the tuned thresholds, question by question.

    The interval comes from a bootstrap over articles of the differences of each question. A drop is held against
    `max_drop` as it was measured: on the same questions it is a fact, and the same each time. Holding the interval's
    lower end against it would fail small question sets whatever the change; the interval says, beside it, whether the
    difference would be one on other articles too.

    Args:
        first: `report.json` of a reader or a pipeline: what stands now.
        second: Another, on the same questions: what is new.
        max_drop: Largest drop allowed, in percent points, by the name of its score.
        seed: Of the bootstrap.

    Raises:
        DataError: a report can't be read, or the two are on different data or questions.
        ConfigError: a score is unknown or an allowed drop is negative.
    """
    allowed = {} if max_drop is None else max_drop
    left, right = _read(first), _read(second)
    _check_same(first, second, left, right)
    _check_allowed(allowed, left["questions"])
    return [
        _change(key, left["questions"], right["questions"], allowed.get(key), seed)
        for key in KEYS
        if _rows(key, left["questions"]).any()
    ]


def _change(key: str, first: Mapping[str, Any], second: Mapping[str, Any], allowed: float | None, seed: int) -> Change:
    rows, column = _rows(key, first), key.rpartition("_")[2]
    before, after = (100 * np.asarray(one[column], dtype=np.float64)[rows] for one in (first, second))
    titles = [title for title, taken in zip(first["title"], rows, strict=True) if taken]
    low, high = interval(after - before, titles, seed=seed)
    difference = float(after.mean() - before.mean())
    return Change(
        key=key,
        first=float(before.mean()),
        second=float(after.mean()),
        difference=difference,
        interval=(low, high),
        verdict=Verdict.BETTER if low > 0 else Verdict.WORSE if high < 0 else Verdict.UNCLEAR,
        allowed=allowed,
        passed=allowed is None or -difference <= allowed + 1e-9,
    )


def _rows(key: str, questions: Mapping[str, Any]) -> NDArray[np.bool_]:
    answerable = np.asarray(questions["answerable"], dtype=bool)
    if key.startswith("HasAns"):
        return answerable
    return ~answerable if key.startswith("NoAns") else np.ones_like(answerable)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): give the report.json of an evaluation.") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): give the report.json of an evaluation.") from None
    if not isinstance(found, dict) or not _has_columns(found.get("questions")):
        raise DataError(
            f"{path} holds no scores by question: give the report.json of odqa eval reader or odqa eval pipeline, "
            "of this version."
        )
    return found


def _has_columns(questions: object) -> bool:
    if not isinstance(questions, dict) or not all(isinstance(questions.get(name), list) for name in _COLUMNS):
        return False
    return len({len(questions[name]) for name in _COLUMNS}) == 1


def _check_same(first: Path, second: Path, left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    data, other = _data(left), _data(right)
    if data != other:
        raise DataError(f"{first} is on the data {data}, {second} on {other}: compare reports on the same data.")
    asked, others = left["questions"]["id"], right["questions"]["id"]
    if asked != others:
        raise DataError(
            f"{first} has {len(asked)} questions, {second} {len(others)}, and they share {len({*asked} & {*others})}: "
            "compare reports on the same questions, with the same --limit and --seed."
        )


def _data(report: Mapping[str, Any]) -> str:
    """The data's SHA-256, or its name where it was no file."""
    made = report.get("provenance", {})
    return f"with SHA-256 {made['data_sha256']}" if made.get("data_sha256") else f'"{made.get("data", "")}"'


def _check_allowed(allowed: Mapping[str, float], questions: Mapping[str, Sequence[Any]]) -> None:
    for key, drop in allowed.items():
        if key not in KEYS:
            raise ConfigError(f'"{key}" is no score; it must be one of: {", ".join(KEYS)}.')
        if not drop >= 0:
            raise ConfigError(f"The largest drop of {key} is {drop}; it must be at least 0.")
        if not _rows(key, questions).any():
            raise ConfigError(f"The reports have no question that {key} is about: leave its largest drop away.")
