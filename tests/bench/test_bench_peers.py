"""Peers in other interpreters: found, given work, and named in one line where something is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from odqa.bench import BenchError, peer_program, peers
from tests.cli.helpers import odqa
from tests.tiny import TEXTS


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """An interpreter that has one peer, which answers the first word of each task's last passage."""
    program = f"""#!{sys.executable}
import json, sys
if sys.argv[2] == "list":
    print(json.dumps({{"peers": ["txtai"], "versions": {{"txtai": "1.2"}}}}))
else:
    settings = json.loads(sys.stdin.readline())
    answer = {{"threads": 3}} if settings["max_length"] > 1 else {{"error": "ValueError: too short"}}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        if work[0][0] == "crash":
            sys.exit(1)
        found = [passages[-1].split()[0] for _, passages in work]
        print(json.dumps({{"seconds": 0.5, "found": found}}), flush=True)
"""
    path = tmp_path / "python"
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_peer_does_the_work_and_tells_its_own_time(fake: Path) -> None:
    found = peers.installed(str(fake), "read")
    assert found.names == ("txtai",)
    with peers.started([found], {"max_length": 48}, list) as (started, failed):
        (peer,) = started
        run = peer.run([["Who?", [TEXTS[0], TEXTS[1]]]])
        assert (peer.name, peer.threads, run.seconds, run.found, failed) == ("txtai 1.2", 3, 0.5, ["Oxygen"], {})
        with pytest.raises(BenchError, match="txtai 1.2 failed: its process ended"):
            peer.run([["crash", []]])
    assert peer.process.returncode is not None


def test_a_peer_that_can_t_be_loaded_is_named_with_the_reason(fake: Path) -> None:
    found = peers.installed(str(fake), "read")
    with (
        pytest.raises(BenchError, match="txtai failed: ValueError: too short"),
        peers.started([found], {"max_length": 1}, list),
    ):
        pass


def test_the_program_runs_a_peer_of_this_interpreter(embedder_folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    found = peers.installed(sys.executable, "embed")
    assert found.names == ("sentence-transformers",)
    with peers.started([found], {"model": str(embedder_folder), "device": "cpu"}, np.asarray) as (started, _):
        vectors = started[0].run(TEXTS).found
    np.testing.assert_allclose(
        vectors, SentenceTransformer(str(embedder_folder), device="cpu").encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize("name", ["no-such-python", "./nowhere/bin/python"])
def test_a_wrong_path_is_one_line(name: str) -> None:
    done = odqa("bench", "read", "--against", name)
    assert done.returncode == 1
    assert done.stderr == f'Error: "{name}" is no Python interpreter: give the path of one, such as venv/bin/python.\n'


def test_a_program_that_is_no_interpreter_is_one_line() -> None:
    done = odqa("bench", "embed", "--against", "/bin/false")
    assert done.returncode == 1
    assert done.stderr.startswith('Error: "/bin/false" does not work as a Python interpreter: ')
    assert done.stderr.count("\n") == 1


def test_an_interpreter_without_a_peer_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text(f'#!{sys.executable}\nprint(\'{{"peers": [], "versions": {{}}}}\')\n')
    path.chmod(0o755)
    with pytest.raises(BenchError, match='nothing to read with .*: pip install "transformers<5"'):
        peers.installed(str(path), "read")


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"transformers": "4.57.6"}, ["transformers", "transformers, batched"]),
        ({"transformers": "5.23.0"}, []),
        ({"transformers": "5.23.0", "txtai": "9.14.0"}, ["txtai"]),
        ({}, []),
    ],
)
def test_the_pipeline_counts_only_where_transformers_still_has_it(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], expected: list[str]
) -> None:
    monkeypatch.setattr(peer_program, "_version", lambda name: versions.get(name, ""))
    found = peer_program.listed("read")
    assert (found["peers"], found["versions"]) == (expected, versions)


def test_what_a_peer_gets_is_plain_json() -> None:
    from odqa.bench.work import Task
    from odqa.recipes import ReaderRecipe

    settings = json.loads(json.dumps(ReaderRecipe(model="m").model_dump(mode="json")))
    assert {"max_length", "doc_stride", "max_answer_length"} <= settings.keys()
    assert json.loads(json.dumps([Task("q", ("a", "b"))])) == [["q", ["a", "b"]]]
