"""Both engines against each other, batches against single rows, and what the CPU path imports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odqa import runtime
from odqa.errors import ModelError
from odqa.runtime import Kind, TokenBatch, load_engine, pad, token_batches

pytest.importorskip("openvino")


def random_batch(lengths: list[int], seed: int = 0) -> TokenBatch:
    random = np.random.default_rng(seed)
    ids = [random.integers(5, 60, length).tolist() for length in lengths]
    return pad(ids, [[int(place > 3) for place in range(length)] for length in lengths], 0)


@pytest.fixture
def folders(reader_folder: Path, embedder_folder: Path) -> dict[Kind, Path]:
    return {Kind.READER: reader_folder, Kind.ENCODER: embedder_folder}


@pytest.mark.parametrize("kind", list(Kind))
def test_the_exported_graph_does_what_torch_does(folders: dict[Kind, Path], kind: Kind) -> None:
    batch = random_batch([3, 40, 17, 40, 1])
    expected = load_engine(folders[kind], kind, device="cpu").run(batch)
    found = load_engine(folders[kind], kind, device="openvino").run(batch)
    assert len(found) == len(expected) == (2 if kind is Kind.READER else 1)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one[batch.mask == 1], other[batch.mask == 1], atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_row_does_not_move_with_its_neighbours(reader_folder: Path, device: str) -> None:
    engine = load_engine(reader_folder, Kind.READER, device=device)
    lengths = [9, 60, 33, 5]
    together = random_batch(lengths)
    start, _ = engine.run(together)
    for row, length in enumerate(lengths):
        alone = TokenBatch(
            *(array[row : row + 1, :length] for array in (together.ids, together.mask, together.segments))
        )
        np.testing.assert_allclose(engine.run(alone)[0][0], start[row, :length], atol=1e-4)


def test_a_graph_is_exported_once(reader_folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_engine(reader_folder, Kind.READER, device="openvino")
    (folder,) = (home / ".cache" / "graphs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"graph.xml", "graph.bin"}
    monkeypatch.setattr("odqa.runtime.export.export", pytest.fail)
    load_engine(reader_folder, Kind.READER, device="openvino")


def test_a_graph_that_differs_from_torch_is_not_used(reader_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odqa.runtime.export.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from torch by"):
        load_engine(reader_folder, Kind.READER, device="openvino")
    monkeypatch.setattr(runtime, "default_device", lambda: "openvino")
    assert type(load_engine(reader_folder, Kind.READER)).__name__ == "TorchEngine"


def test_a_cache_that_cannot_be_written_leaves_the_model_to_torch(
    reader_folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / ".cache").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="Can't keep the exported graph in"):
        load_engine(reader_folder, Kind.READER, device="openvino")
    monkeypatch.setattr(runtime, "default_device", lambda: "openvino")
    assert type(load_engine(reader_folder, Kind.READER)).__name__ == "TorchEngine"


def test_missing_weights_are_named(reader_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(reader_folder, tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    del weights["qa_outputs.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks the weights qa_outputs\.weight"):
        load_engine(folder, Kind.READER, device="cpu")


def test_answering_on_a_cpu_imports_no_torch(reader_folder: Path) -> None:
    """Once its graph is exported, a reader runs without torch, transformers or sentence-transformers."""
    code = (
        "import json, sys\nfrom odqa.reader import Reader\n"
        f"result = Reader({str(reader_folder)!r}, device='openvino').answer('who?', 'Rollo led.', abstain='never')\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "print(json.dumps([len(result.answers) > 0, sorted(heavy)]))"
    )
    load_engine(reader_folder, Kind.READER, device="openvino")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = [rows.tolist() for rows in token_batches(lengths, budget)]
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        longest = max(lengths[row] for row in rows)
        assert len(rows) == 1 or len(rows) * longest <= budget
