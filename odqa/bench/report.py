"""What a benchmark hands back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from odqa.bench.machine import Machine
from odqa.errors import OdqaError

Value = str | int | float | None
_WIDEST = 8
"""Columns that stand side by side."""


class BenchError(OdqaError):
    """A benchmark can't be run: what it compares with is missing or fails, or there is nothing to measure on."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark measured.

    Attributes:
        bench: Its name.
        settings: What was measured on: models, counts.
        rows: A record for each thing that was measured; units stand in the keys, None where a key says nothing.
        machine: What it was measured on.
        failed: What could not take part, and why.
    """

    bench: str
    settings: Mapping[str, Value]
    rows: Sequence[Mapping[str, Value]]
    machine: Machine
    failed: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return asdict(self)

    def table(self) -> list[list[str]]:
        """Lines of cells, the first of headings: a line for each row, or a column where there are too many keys."""
        keys = list(dict.fromkeys(key for row in self.rows for key in row))
        lines = [keys, *([cell(row.get(key)) for key in keys] for row in self.rows)]
        return lines if len(keys) <= _WIDEST else [list(column) for column in zip(*lines, strict=True)]


def cell(value: Value) -> str:
    """A number with three digits that count, or more before the point; a dash for what is not there."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else value
    decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(decimals, 0), 6)}f}"
