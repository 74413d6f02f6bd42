"""`odqa serve` as a process of its own: how it starts, how it ends, what survives."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from odqa.embedder import Embedder
from odqa.index import Index, store
from odqa.types import Document
from tests.cli.helpers import odqa, recipe
from tests.service.server import ASK, until

QUESTION = {"question": "who led the normans?"}


@dataclass
class Program:
    process: subprocess.Popen[str]
    url: str = ""
    log: list[str] = field(default_factory=list)

    def ready(self) -> bool:
        try:
            return httpx2.get(self.url + "/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log if line.startswith("{")]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, documents: list[Document], reader_folder: Path
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODQA_HOME", str(folder))
        Index.build("tiny", documents, embedder=embedder)
    return {"home": str(folder), "recipe": recipe(folder, reader_folder)}


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("odqa.service", "uvicorn")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@contextmanager
def program(made: dict[str, str], *arguments: str, ready: bool = True) -> Iterator[Program]:
    command = [
        sys.executable,
        "-m",
        "odqa",
        "serve",
        "--pipeline",
        made["recipe"],
        "--port",
        "0",
        "--device",
        "cpu",
        *arguments,
    ]
    environment = {**os.environ, "ODQA_HOME": made["home"], "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        one = Program(process)
        assert process.stdout is not None
        assert process.stderr is not None
        reading = threading.Thread(target=lambda: one.log.extend(process.stderr or []))
        reading.start()
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "".join(one.log)
            one.url = found.group()
            if ready:
                until(one.ready, 60)
            yield one
        finally:
            process.kill()
            reading.join(10)


def test_it_answers_logs_and_ends_in_peace(made: dict[str, str]) -> None:
    with program(made, "--log-questions") as one:
        done = httpx2.post(one.url + ASK, json=QUESTION, headers={"X-Request-ID": "r-1"}, timeout=30)
        assert done.status_code == 200
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
    line = next(event for event in one.events() if event.get("request_id") == "r-1")
    assert line["asked"] == [QUESTION["question"]]
    assert {"queue", "retrieve", "read"} == set(line["timings"])  # type: ignore[call-overload]
    assert next(event["event"] for event in one.events()) == "ready"


def test_it_ends_in_peace_while_it_loads(made: dict[str, str]) -> None:
    with program(made, ready=False) as one:
        time.sleep(0.5)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30) == 0


def test_what_was_acknowledged_survives_a_kill(
    made: dict[str, str], embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = []
    with program(made) as one:
        for number in range(4):
            body = {"documents": [{"id": f"kept{number}", "text": f"Kept number {number}."}]}
            if httpx2.put(one.url + "/v1/documents", json=body, timeout=60).status_code == 200:
                acknowledged.append(f"kept{number}")
        threading.Timer(0.05, one.process.kill).start()
        with pytest.raises(httpx2.TransportError):
            for number in range(1000):
                body = {"documents": [{"id": f"late{number}", "text": f"Late number {number}."}]}
                if httpx2.put(one.url + "/v1/documents", json=body, timeout=60).status_code == 200:
                    acknowledged.append(f"late{number}")
    assert len(acknowledged) >= 4
    monkeypatch.setenv("ODQA_HOME", made["home"])
    assert store.verify("tiny") == []
    assert {document.id for document in Index.open("tiny").documents()} >= set(acknowledged)
    assert Index.add("tiny", [Document("after", "Written after the kill.")], embedder=embedder).added == 1


def test_what_can_not_start_says_why(made: dict[str, str], tmp_path: Path) -> None:
    home = {"ODQA_HOME": made["home"]}
    missing = odqa("serve", "--pipeline", made["recipe"], "--index", "nowhere", "--port", "0", **home)
    assert missing.returncode == 1
    assert missing.stdout == ""
    assert missing.stderr.startswith('Error: No index "nowhere"')
    assert odqa("serve", "--host", "not.an.address.invalid", **home).returncode == 1
    keys = tmp_path / "keys"
    keys.write_text("me:admin:123\n")
    wrong = odqa("serve", "--keys", str(keys), **home)
    assert "entry 1: expected NAME:read:SHA256" in wrong.stderr


def test_an_open_address_without_keys_is_warned_of(made: dict[str, str]) -> None:
    done = odqa("serve", "--host", "0.0.0.0", "--port", "0", "--index", "nowhere", ODQA_HOME=made["home"])  # noqa: S104
    assert "no API keys are set" in done.stderr


def test_clients_that_hang_up_end_nothing(made: dict[str, str]) -> None:
    with program(made) as one:
        port = int(one.url.rpartition(":")[2])
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert httpx2.get(one.url + "/healthz", timeout=10).status_code == 200


def test_host_names_are_compared_as_they_are_called(made: dict[str, str]) -> None:
    with program(made, "--host", "127.0.0.2", "--allowed-host", "Odqa.Example.com") as one:
        for name in ("odqa.example.com", "ODQA.example.com:80", "127.0.0.2"):
            assert httpx2.get(one.url + "/healthz", headers={"Host": name}, timeout=10).status_code == 200
        assert httpx2.get(one.url + "/healthz", headers={"Host": "evil.example"}, timeout=10).status_code == 421
