"""Searches while another process adds, removes and compacts."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odqa.errors import IndexDamagedError
from odqa.index import Index, generation, store
from odqa.types import Document
from tests.index import fakes

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
    import sys
    from odqa.index import change, store
    from odqa.types import Document
    from tests.index import fakes

    print("ready", flush=True)
    folder = store.folder_of("made")
    for turn in range(int(sys.argv[1])):
        with store.locked(folder):
            fakes.add("made", [Document(f"n{turn}", f"w1 turn{turn}"), Document("always", f"w2 turn{turn}")])
            if turn % 3 == 0:
                change.remove(folder, ids=[f"n{turn}"])
            if turn % 4 == 0:
                change.compact(folder)
"""
SEARCHES = 100


def search(index: Index, number: int) -> int:
    """One search on the newest generation: every row is the passage that its vector and terms say."""
    index = index.refreshed()
    hits = fakes.retriever(index, candidates=20).retrieve([f"w1 w2 w{number % 60}"], top_k=10)[0]
    query = fakes.vector(f"w1 w2 w{number % 60}")
    assert len(hits) == 10
    for hit in hits:
        truth = fakes.cosines([hit.passage.text], query)[0]
        np.testing.assert_allclose(hit.dense, truth, atol=1e-6)
        known = set(hit.passage.text.split()) & {"w1", "w2", f"w{number % 60}"}
        assert (hit.sparse > 0) == bool(known)
    assert sum(document.id == "always" for document in index.documents()) == 1
    return index.generation.number


def test_searches_beside_a_writer_see_whole_generations() -> None:
    fakes.build("made", fakes.make_documents(40))
    fakes.add("made", [Document("always", "w2")])
    index = Index.open("made")
    command = [sys.executable, "-c", textwrap.dedent(WRITER), "12"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        with ThreadPoolExecutor(4) as pool:
            seen = []
            while len(seen) < SEARCHES or writer.poll() is None:
                seen += pool.map(lambda number: search(index, number), range(len(seen), len(seen) + 20))
    assert writer.returncode == 0
    assert len(set(seen)) > 1
    assert store.faults(store.existing("made")) == []


def overtaken(made: Callable[..., Any]) -> Callable[..., Any]:
    """The function, where the first call of it finds that a writer has cleared away what was current."""
    turns = [1, 2]

    def call(*arguments: Any) -> Any:
        missed = turns.copy()
        turns.clear()
        for turn in missed:
            fakes.add("made", [Document("always", f"w2 turn{turn}")])
        return made(*arguments)

    return call


def test_generation_cleared_away_between_two_reads_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.build("made", fakes.make_documents(3))
    folder = store.folder_of("made")
    with monkeypatch.context() as patch:
        patch.setattr(generation, "_named", overtaken(generation._named))
        assert generation.current(folder).number == 3
    (folder / "generation-000003.json").unlink()
    with pytest.raises(IndexDamagedError, match=r"generation-000003\.json is missing, though CURRENT names it"):
        generation.current(folder)


def test_verifying_beside_a_writer_finds_no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.build("made", [Document("always", "w2")])
    first = {path.name for path in (store.folder_of("made") / "segments").iterdir()}
    monkeypatch.setattr(store, "still_is", overtaken(store.still_is))
    assert store.verify("made") == []
    assert not first & {path.name for path in (store.folder_of("made") / "segments").iterdir()}
