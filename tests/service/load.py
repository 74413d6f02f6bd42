"""A load test: `python -m tests.service.load`. Questions a second and times, micro-batching on and off, in one run.

Each round asks as fast as so many clients can, with a deadline; an answer that came in time counts. With `--churn`
documents are added and removed meanwhile, and the service's memory is watched.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx2
import numpy as np

DEADLINE = 2.0
"""Seconds."""
ASKED = ("When was {} first described?", "Who is best known for {}?", "Where did {} begin?", "What is {} made of?")
HEADINGS = f"{'batching':>8} {'clients':>7} {'good/s':>7} {'p50 ms':>7} {'p99 ms':>7}  {'MiB':>5}  outcomes"


@dataclass
class Round:
    """What became of the requests of one round; seconds of those that were answered in time."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)

    def line(self, batching: bool, clients: int, memory: int) -> str:
        """One line of the table."""
        p50, p99 = np.percentile(self.answered or [float("nan")], [50, 99]) * 1000
        told = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(self.outcomes.items()))
        goodput = len(self.answered) / self.seconds
        on = "on" if batching else "off"
        return f"{on:>8} {clients:>7} {goodput:>7.1f} {p50:>7.0f} {p99:>7.0f}  {memory:>5}  {told}"


@contextmanager
def service(*arguments: str) -> Iterator[tuple[str, int]]:
    """`odqa serve` as a process: its address and its number."""
    command = [sys.executable, "-u", "-m", "odqa", "serve", "--port", "0", "--deadline", str(DEADLINE), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise click.ClickException("The service did not start.")
            wait(found.group(), process)
            yield found.group(), process.pid
        finally:
            process.terminate()


def wait(url: str, process: subprocess.Popen[str]) -> None:
    with httpx2.Client(base_url=url) as client:
        while process.poll() is None:
            with suppress(httpx2.TransportError):
                if client.get("/readyz").status_code == 200:
                    return
            time.sleep(0.5)
    raise click.ClickException("The service did not become ready.")


def memory(process: int) -> int:
    """Resident memory in MiB, where the system tells."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text("utf-8")) if status.is_file() else None
    return int(found[1]) // 1024 if found else 0


def questions(url: str, top_k: int) -> list[dict[str, object]]:
    """Requests that ask about what stands in the index."""
    body = {"question": [template.format("it") for template in ASKED], "top_k": 50}
    found = httpx2.post(f"{url}/v1/retrieve", json={**body, "timeout": 60}, timeout=60).json()["results"]
    titles = {passage["title"] or passage["document_id"] for one in found for passage in one["passages"]}
    asked = [template.format(title) for title in sorted(titles) for template in ASKED]
    return [{"question": question, "top_k": top_k} for question in asked]


async def load(url: str, asked: Iterator[dict[str, object]], clients: int, seconds: float, *, churn: bool) -> Round:
    """One round."""
    made, begin = Round(), time.monotonic()
    limits = httpx2.Limits(max_connections=clients + 1, max_keepalive_connections=clients + 1)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        tasks = [client(http, asked, begin + seconds, made) for _ in range(clients)]
        await asyncio.gather(*tasks, *([change(http, begin + seconds, made)] if churn else []))
    made.seconds = time.monotonic() - begin
    return made


async def client(http: httpx2.AsyncClient, asked: Iterator[dict[str, object]], end: float, made: Round) -> None:
    while time.monotonic() < end:
        begin = time.monotonic()
        response = await http.post("/v1/ask", json=next(asked))
        took = time.monotonic() - begin
        made.outcomes[str(response.status_code)] += 1
        if response.status_code == 200 and took <= DEADLINE:
            made.answered.append(took)
        elif response.status_code == 429:
            await asyncio.sleep(float(response.headers["Retry-After"]))


async def change(http: httpx2.AsyncClient, end: float, made: Round) -> None:
    for number in itertools.count():
        if time.monotonic() > end:
            return
        body = {"documents": [{"id": "load-test", "text": f"This document was written for the {number}. time."}]}
        response = await http.put("/v1/documents", json=body)
        made.outcomes[f"put {response.status_code}"] += 1
        response = await http.delete("/v1/documents/load-test")
        made.outcomes[f"delete {response.status_code}"] += 1


@click.command(help=__doc__)
@click.option("--pipeline", default="default", show_default=True)
@click.option("--index", default="squad2-dev", show_default=True)
@click.option("--clients", multiple=True, type=int, default=(1, 8, 32, 128), show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of each round.")
@click.option("--top-k", default=10, show_default=True, help="Passages read for a question.")
@click.option("--churn", is_flag=True, help="Add and remove documents meanwhile.")
def main(pipeline: str, index: str, clients: tuple[int, ...], seconds: float, top_k: int, churn: bool) -> None:
    click.echo(HEADINGS)
    for batching in (True, False):
        arguments = ["--pipeline", pipeline, "--index", index, *([] if batching else ["--batch-tokens", "1"])]
        with service(*arguments) as (url, process):
            asked = itertools.cycle(questions(url, top_k))
            for count in clients:
                made = asyncio.run(load(url, asked, count, seconds, churn=churn))
                click.echo(made.line(batching, count, memory(process)))


if __name__ == "__main__":
    main()
