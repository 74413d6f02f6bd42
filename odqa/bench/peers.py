"""Peers in other interpreters: found, started, and given the same work as odqa."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO, Any, Generic, TypeVar

from odqa import progress
from odqa.bench.report import BenchError
from odqa.bench.rounds import Run

W = TypeVar("W")
F = TypeVar("F")

_PROGRAM = Path(__file__).with_name("peer_program.py")
_WANTED = {
    "read": 'pip install "transformers<5", transformers-haystack or txtai there',
    "embed": "pip install sentence-transformers there",
}
_PATIENCE = 120
"""Seconds in which an interpreter must say what it has."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The peers that an interpreter has for a task, and the versions of what they run on."""

    python: str
    names: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Peer(Generic[W, F]):
    """A peer at work in its own process; a contestant like odqa itself.

    Attributes:
        name: What it is called, with its version.
        threads: Of its torch.
        process: It, with pipes for work and answers.
        talk: What it writes to stderr.
        convert: From an answer's JSON to what is found.
    """

    name: str
    threads: int
    process: subprocess.Popen[str]
    talk: IO[bytes]
    convert: Callable[[Any], F]

    def run(self, work: Sequence[W]) -> Run[F]:
        """Do all of `work`; the time is the peer's own, without what sending takes.

        Raises:
            BenchError: it fails.
        """
        reply = _ask(self.process, list(work), self.name, self.talk)
        return Run(float(reply["seconds"]), self.convert(reply["found"]))


def installed(python: str, task: str) -> Installed:
    """What the interpreter `python` has for "read" or "embed".

    Raises:
        BenchError: it is no interpreter, or has none.
    """
    command = [*_command(python), "list", task]
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": _PATIENCE}
    try:
        done = subprocess.run(command, env=_environment(), **options)  # noqa: S603, PLW1510
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        told = str(getattr(error, "stderr", "") or "").strip().splitlines()
        raise BenchError(f'"{python}" does not work as a Python interpreter: {(told or [str(error)])[-1]}') from None
    if not found["peers"]:
        raise BenchError(f'"{python}" has nothing to {task} with that odqa could be compared with: {_WANTED[task]}.')
    return Installed(python, tuple(found["peers"]), found["versions"])


@contextmanager
def started(
    found: Sequence[Installed], settings: Mapping[str, object], convert: Callable[[Any], F]
) -> Iterator[tuple[list[Peer[Any, F]], dict[str, str]]]:
    """All peers of all interpreters, loaded, and what could not be loaded with the reason; they end with the block.

    Raises:
        BenchError: there were some and none could be loaded.
    """
    peers: list[Peer[Any, F]] = []
    failed: dict[str, str] = {}
    pairs = [(one, name) for one in found for name in one.names]
    with ExitStack() as stack:
        for one, name in progress.track(pairs, "Loading peers", total=len(pairs)):
            try:
                peers.append(stack.enter_context(_started(one, name, settings, convert)))
            except BenchError as error:
                failed[name] = str(error)
        if failed and not peers:
            raise BenchError(" ".join(failed.values()))
        yield peers, failed


@contextmanager
def _started(
    found: Installed, name: str, settings: Mapping[str, object], convert: Callable[[Any], F]
) -> Iterator[Peer[Any, F]]:
    command = [*_command(found.python), "run", name]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    with (
        tempfile.TemporaryFile() as talk,
        subprocess.Popen(command, stderr=talk, env=_environment(), **pipes) as process,  # noqa: S603
    ):
        try:
            threads = int(_ask(process, dict(settings), name, talk)["threads"])
            yield Peer(_label(name, found.versions), threads, process, talk, convert)
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], record: object, name: str, talk: IO[bytes]) -> dict[str, Any]:
    """Send one line, wait for the one that answers it."""
    line = ""
    if process.stdin is not None and process.stdout is not None:
        try:
            process.stdin.write(json.dumps(record) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
    reply: dict[str, Any] = json.loads(line) if line else {"error": f"its process ended{_last(talk)}"}
    if "error" in reply:
        raise BenchError(f"{name} failed: {reply['error']}.")
    return reply


def _last(talk: IO[bytes]) -> str:
    """The last line that was written to stderr."""
    talk.seek(0)
    lines = talk.read().decode("utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def _label(name: str, versions: Mapping[str, str]) -> str:
    package, _, variant = name.partition(", ")
    known = {"haystack": ("transformers-haystack", "haystack-ai")}.get(package, (package,))
    number = next((versions[one] for one in known if one in versions), "")
    return f"{package} {number}{', ' + variant if variant else ''}"


def _command(python: str) -> list[str]:
    """The interpreter with the program.

    Raises:
        BenchError: there is no such file, or it can't be run.
    """
    found = which(Path(python).expanduser())
    if found is None:
        raise BenchError(f'"{python}" is no Python interpreter: give the path of one, such as venv/bin/python.')
    return [found, str(_PROGRAM)]


def _environment() -> dict[str, str]:
    """This process's environment, offline, without what would lead to this process's own packages."""
    own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    quiet = {"HAYSTACK_TELEMETRY_ENABLED": "false", "TRANSFORMERS_VERBOSITY": "error", "PYTHONIOENCODING": "utf-8"}
    return {**kept, **quiet, "HF_HUB_OFFLINE": "1"}
