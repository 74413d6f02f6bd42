"""What `odqa bench index` measures with: natural words, and searches whose recall is known."""

from __future__ import annotations

import numpy as np
import pytest

from odqa.bench import index as bench
from odqa.errors import ConfigError
from odqa.index import Index, files, store, vectors
from odqa.index import build as building


def test_words_follow_zipf_s_law() -> None:
    ranks = bench._zipf(np.random.default_rng(0), 200_000)
    counts = np.bincount(ranks + 1)
    assert ranks.min() == 0
    assert counts[1] / counts[2] == pytest.approx(np.log(2) / np.log(1.5), rel=0.05)
    assert counts[1] / counts[10] == pytest.approx(np.log(2) / np.log(1.1), rel=0.1)


@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat"])
def test_a_small_run(monkeypatch: pytest.MonkeyPatch, factory: str) -> None:
    seeds = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    monkeypatch.setattr(bench, "_seeds", lambda: seeds)
    folder = store.folder_of("made")
    files.make_folder(folder)
    maker = bench._Maker()
    report = building.build(
        folder, bench._documents(300), card=bench._card(factory), embedder=maker, splitter=maker, number=1
    )
    assert report.passages == 300
    found = bench._search(folder, gpu=False)
    assert found["recall@10"] >= 0.9
    assert {"open s", "dense p50 ms", "sparse p50 ms", "hybrid p95 ms"} <= found.keys()
    merge = Index.merge
    monkeypatch.setattr(Index, "merge", lambda self, *, gpu: merge(self, gpu=not gpu))
    assert bench._search(folder, gpu=True).keys() - found.keys() == {
        f"{mode} on GPU p{rank} ms" for mode in ("dense", "hybrid") for rank in (50, 95)
    }


@pytest.mark.parametrize(
    ("factory", "gpus", "message"),
    [
        ("Flat", 0, "faiss finds no GPU"),
        ("HNSW32", 1, "Flat and IVF can"),
        ("Flatt", 1, 'factory is "Flatt"'),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, factory: str, gpus: int, message: str
) -> None:
    monkeypatch.setattr(vectors, "gpus", lambda: gpus)
    monkeypatch.setattr(bench, "_measured", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(ConfigError, match=message):
        bench.measure(10, ["Flat", factory], gpu=True)
