"""A service under load: questions a second and times at several numbers of clients, micro-batching on and off.

Each round asks as fast as so many clients can, with a deadline; an answer that came in time counts.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np

from odqa import progress
from odqa.bench import work
from odqa.bench.machine import machine
from odqa.bench.report import BenchError, Report, Value
from odqa.index import Index
from odqa.recipes import load_pipeline

DEADLINE = 2.0
"""Seconds."""
_QUESTIONS = 1_000


@dataclass
class Round:
    """What became of the requests of one round; seconds of those that were answered in time."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)

    def row(self, *, batching: bool, clients: int, memory: int) -> dict[str, Value]:
        """The row of the table."""
        p50, p99 = np.percentile(self.answered or [float("nan")], [50, 99]) * 1000
        return {
            "batching": "on" if batching else "off",
            "clients": clients,
            "questions/s": len(self.answered) / self.seconds,
            "p50 ms": float(p50),
            "p99 ms": float(p99),
            "MiB": memory,
            "outcomes": ", ".join(f"{outcome}: {count}" for outcome, count in sorted(self.outcomes.items())),
        }


def measure(
    pipeline: str,
    *,
    index: str | None = None,
    clients: Sequence[int] = (1, 8, 32),
    seconds: float = 10.0,
    top_k: int = 10,
    compare: bool = False,
    churn: bool = False,
) -> Report:
    """Start a service of its own and put it under load.

    Args:
        pipeline: The recipe that it serves.
        index: An index in place of the recipe's.
        clients: Clients that ask at the same time, one round for each number.
        seconds: Of each round.
        top_k: Passages read for a question.
        compare: Measure without micro-batching as well.
        churn: Add and remove documents meanwhile.

    Raises:
        OdqaError: the recipe or the index can't be opened, or the service doesn't start.
    """
    name = load_pipeline(pipeline).index if index is None else index
    asked = work.questions(Index.open(name).documents(), None, (), count=_QUESTIONS)
    requests = itertools.cycle([{"question": question, "top_k": top_k} for question in asked])
    rows = []
    ways = [True, False] if compare else [True]
    with progress.bar("Asking", total=len(ways) * len(clients), unit="rounds") as tick:
        for batching in ways:
            arguments = ["--pipeline", pipeline, "--index", name, *([] if batching else ["--batch-tokens", "1"])]
            with _service(*arguments) as (url, process):
                for count in clients:
                    made = asyncio.run(_load(url, requests, count, seconds, churn=churn))
                    rows.append(made.row(batching=batching, clients=count, memory=_memory(process)))
                    tick.advance()
    settings: dict[str, Value] = {"pipeline": pipeline, "index": name, "top_k": top_k}
    settings |= {"deadline s": DEADLINE, "seconds": seconds}
    return Report("serve", settings, rows, machine(), {})


@contextmanager
def _service(*arguments: str) -> Iterator[tuple[str, int]]:
    """`odqa serve` as a process: its address and its number."""
    command = [sys.executable, "-u", "-m", "odqa", "serve", "--port", "0", "--deadline", str(DEADLINE), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise BenchError("The service did not start. See why: odqa serve")
            _wait(found.group(), process)
            yield found.group(), process.pid
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    with httpx2.Client(base_url=url) as client:
        while process.poll() is None:
            with suppress(httpx2.TransportError):
                if client.get("/readyz").status_code == 200:
                    return
            time.sleep(0.5)
    raise BenchError("The service did not become ready. See why: odqa serve")


def _memory(process: int) -> int:
    """Resident memory in MiB, where the system tells."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text("utf-8")) if status.is_file() else None
    return int(found[1]) // 1024 if found else 0


async def _load(url: str, asked: Iterator[dict[str, object]], clients: int, seconds: float, *, churn: bool) -> Round:
    """One round."""
    made, begin = Round(), time.monotonic()
    limits = httpx2.Limits(max_connections=clients + 1, max_keepalive_connections=clients + 1)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        tasks = [_client(http, asked, begin + seconds, made) for _ in range(clients)]
        await asyncio.gather(*tasks, *([_change(http, begin + seconds, made)] if churn else []))
    made.seconds = time.monotonic() - begin
    return made


async def _client(http: httpx2.AsyncClient, asked: Iterator[dict[str, object]], end: float, made: Round) -> None:
    while time.monotonic() < end:
        begin = time.monotonic()
        response = await http.post("/v1/ask", json=next(asked))
        took = time.monotonic() - begin
        made.outcomes[str(response.status_code)] += 1
        if response.status_code == 200 and took <= DEADLINE:
            made.answered.append(took)
        elif response.status_code == 429:
            await asyncio.sleep(float(response.headers["Retry-After"]))


async def _change(http: httpx2.AsyncClient, end: float, made: Round) -> None:
    for number in itertools.count():
        if time.monotonic() > end:
            return
        body = {"documents": [{"id": "load-test", "text": f"This document was written for the {number}. time."}]}
        response = await http.put("/v1/documents", json=body)
        made.outcomes[f"put {response.status_code}"] += 1
        response = await http.delete("/v1/documents/load-test")
        made.outcomes[f"delete {response.status_code}"] += 1
