"""Questions to answers, the whole way: in a process of its own for each, and in one that is warm."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from odqa.bench import work
from odqa.bench.machine import machine
from odqa.bench.report import BenchError, Report, Value
from odqa.bench.rounds import times
from odqa.pipeline import BATCH, Pipeline
from odqa.types import Result


def measure(
    pipeline: str,
    *,
    index: str | None = None,
    questions: Sequence[str] = (),
    data: str | None = None,
    count: int = 100,
    cold: int = 5,
    device: str | None = None,
) -> Report:
    """Ask an index with a recipe's pipeline.

    Args:
        pipeline: A recipe.
        index: An index in place of the recipe's.
        questions: What to ask; those of `data` where none are given, else some made from the index's titles.
        data: Questions in SQuAD form.
        count: Questions to ask the warm pipeline.
        cold: Of these, questions to ask with `odqa ask` in a process of its own each.
        device: Where the warm pipeline's models run; see `odqa.runtime`.

    Raises:
        OdqaError: the pipeline can't be loaded, or there is nothing to ask.
    """
    loaded = Pipeline.load(pipeline, index=index, device=device)
    opened = loaded.retriever.index
    asked = work.questions(opened.documents(), data, questions, count=count)
    rows = _warm(loaded, asked)
    command = ["ask", "--json", "--pipeline", pipeline, "--index", opened.name]
    rows.insert(0, _cold("odqa --version, a process", [["--version"]] * cold))
    rows.insert(1, _cold("odqa ask, a process", [[*command, "--", one] for one in asked[:cold]]))
    settings: dict[str, Value] = {"pipeline": pipeline, "reader": loaded.reader.recipe.model, "index": opened.name}
    settings |= {"passages": len(opened), "top_k": loaded.retriever.recipe.top_k}
    return Report("ask", settings, rows, machine(device), {})


def _warm(pipeline: Pipeline, asked: Sequence[str]) -> list[dict[str, Value]]:
    def one(question: str) -> Result:
        return pipeline.answer(question)

    def many(batch: Sequence[str]) -> list[Result]:
        return pipeline.answer_batch(batch)

    alone = times(one, asked, "Asking")
    blocks = [asked[at : at + BATCH] for at in range(0, len(asked), BATCH)]
    together = sum(seconds for seconds, _ in times(many, blocks, f"Asking {BATCH} at once"))
    stages = [(stage, [result.timings[stage] for _, result in alone]) for stage in alone[0][1].timings]
    return [
        _row("warm", [seconds for seconds, _ in alone]),
        *(_row(f"of that, {stage}", seconds) for stage, seconds in stages),
        {"what": f"warm, {BATCH} at once", "runs": len(blocks), "questions/s": len(asked) / together},
    ]


def _cold(name: str, commands: Sequence[Sequence[str]]) -> dict[str, Value]:
    found = times(_process, commands, name, warm=1)
    return _row(name, [seconds for seconds, _ in found]) | {"peak MiB": max(peak for _, peak in found)}


_PROGRAM = """
import atexit, pathlib, sys
status = pathlib.Path("/proc/self/status")
if status.is_file():
    atexit.register(lambda: print(*(line for line in status.open() if line.startswith("VmHWM")), file=sys.stderr))
from odqa.cli import main
main()
"""


def _process(arguments: Sequence[str]) -> int:
    """Run a command in a process of its own; the most memory that it had at once, in MiB, 0 where only Linux tells."""
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BenchError(f"odqa {' '.join(arguments)} failed in a process of its own: {done.stderr.strip()}")
    peak = re.search(r"^VmHWM:\s+(\d+)", done.stderr, re.MULTILINE)
    return int(peak[1]) // 1024 if peak else 0


def _row(name: str, seconds: Sequence[float]) -> dict[str, Value]:
    p50, p95 = (float(percentile) for percentile in np.percentile(seconds, [50, 95]))
    rate = len(seconds) / sum(seconds)
    return {"what": name, "runs": len(seconds), "p50 ms": 1000 * p50, "p95 ms": 1000 * p95, "questions/s": rate}
