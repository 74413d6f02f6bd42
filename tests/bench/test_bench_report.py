"""The machine is named, rounds take turns, and figures are shown with the digits that count."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from odqa.bench.machine import instruction_sets, machine
from odqa.bench.report import Report, Value, cell
from odqa.bench.rounds import Local, Run, compete, times


def test_the_machine_is_named() -> None:
    found = machine("cpu")
    assert found.processor
    assert found.cores >= 1
    assert found.processors >= 1
    assert found.engine == "torch on the CPU, float32"
    assert {"odqa", "python", "torch", "tokenizers"} <= found.versions.keys()
    assert found.processor in found.lines()[0]


def test_instruction_sets_that_matter() -> None:
    assert instruction_sets("fpu sse2 avx avx2 fma avx512f avx512_bf16 amx_int8 aes") == (
        "amx_int8",
        "avx2",
        "avx512_bf16",
        "avx512f",
        "fma",
    )
    assert instruction_sets("") == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234.5678, "1,235"),
        (12.345, "12.3"),
        (1.0, "1.00"),
        (0.012345, "0.0123"),
        (0.0, "0"),
        (1200, "1,200"),
        (None, "–"),
        (float("nan"), "–"),
        ("odqa", "odqa"),
    ],
)
def test_cells(value: Value, shown: str) -> None:
    assert cell(value) == shown


def test_many_keys_stand_below_each_other() -> None:
    few, many = {"what": "a", "x": 1}, {f"key {number}": number for number in range(9)}
    assert Report("b", {}, [few, {"what": "b"}], machine("cpu"), {}).table() == [["what", "x"], ["a", "1"], ["b", "–"]]
    assert Report("b", {}, [many], machine("cpu"), {}).table()[1] == ["key 1", "1"]
    assert json.loads(json.dumps(Report("b", {}, [few], machine("cpu"), {}).to_dict()))["rows"] == [few]


def test_rounds_take_turns_after_a_warm_up_and_the_median_counts() -> None:
    order: list[str] = []

    class Told:
        def __init__(self, name: str, seconds: list[float]) -> None:
            self.name = name
            self._seconds = iter(seconds)

        def run(self, work: Sequence[int]) -> Run[int]:
            order.append(f"{self.name}{len(work)}")
            return Run(next(self._seconds), sum(work))

    measured = compete([Told("a", [9, 1, 5, 2]), Told("b", [9, 4, 4, 4])], list(range(20)), rounds=3)
    assert order == ["a8", "b8", "a20", "b20", "a20", "b20", "a20", "b20"]
    assert [(one.name, one.seconds, one.found) for one in measured] == [("a", 2, 190), ("b", 4, 190)]


def test_a_function_is_timed() -> None:
    assert Local("sum", sum).run([1, 2]).found == 3
    assert [found for seconds, found in times(abs, [-1, 2], "") if seconds >= 0] == [1, 2]
