"""FAISS factories: one codec for all segments, codes that survive moves, and a recall that is measured."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from odqa.errors import ConfigError, IndexDamagedError
from odqa.index import Index, change, store, tuning
from odqa.index.generation import current
from odqa.index.vectors import Codec, Vectors, unit
from odqa.types import Document
from tests.index import fakes

FACTORIES = [
    "Flat",
    "SQ8",
    "SQfp16",
    "IVF4,Flat",
    "IVF4,SQ8",
    "IVF4,PQ4x4",
    "OPQ4,IVF4,PQ4x4",
    "HNSW8",
    "HNSW8,SQ8",
]
DOCUMENTS = fakes.make_documents(150)


def build(factory: str, *, recall: float = 0.95, **options) -> Index:
    card = fakes.CARD.model_copy(update={"factory": factory, "recall": recall})
    fakes.build("made", DOCUMENTS, card, **options)
    return Index.open("made")


def save(path: Path, codec: Codec, codes: np.ndarray) -> Vectors:
    with path.open("wb") as file:
        codec.write(codes, file.write)
    return Vectors(path)


@pytest.mark.parametrize("factory", FACTORIES)
def test_codes_are_kept_bit_for_bit(tmp_path: Path, factory: str, capfd: pytest.CaptureFixture[str]) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32))
    codec = Codec(factory, 16)
    if not codec.trained:
        codec.train(vectors)
    codes = codec.encode(vectors)
    first = save(tmp_path / "first", codec, codes)
    order = np.random.default_rng(1).permutation(300)
    assert (first.codes(order) == codes[order]).all()
    second = save(tmp_path / "second", codec, first.codes(order))
    np.testing.assert_array_equal(second.rows(np.arange(300)), first.rows(order))
    if "," not in factory and "PQ" not in factory:
        np.testing.assert_allclose(first.rows(np.arange(300)), vectors, atol=0 if factory == "Flat" else 0.02)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("factory", FACTORIES)
def test_segments_share_one_codec_and_search_as_one(factory: str) -> None:
    cut = build(factory, segment_passages=90, recall=1.0)
    assert len(cut.generation.segments) > 3
    assert (cut.generation.codec is None) == (factory in ("Flat", "SQfp16", "HNSW8"))
    queries = np.stack([fakes.vector(f"question {number}") for number in range(10)])
    near = [set(map(fakes.key, map(cut.passage, rows))) for rows in cut.nearest(queries, 5)]
    change.compact(store.existing("made"))
    whole = Index.open("made")
    assert len(whole.generation.segments) == 1
    assert whole.generation.codec == cut.generation.codec
    assert [set(map(fakes.key, map(whole.passage, rows))) for rows in whole.nearest(queries, 5)] == near
    assert store.faults(store.existing("made")) == []


def test_flat_recall_is_exact_and_no_tuning_is_kept() -> None:
    assert build("Flat").generation.tuning is None


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW4"])
def test_the_least_effort_that_reaches_the_recall_is_kept(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odqa.index.vectors._FEW", 0)
    low, high = build(factory, recall=0.5).generation.tuning, build(factory, recall=0.99).generation.tuning
    assert low is not None
    assert high is not None
    assert low.parameter == high.parameter == {"I": "nprobe", "H": "efSearch"}[factory[0]]
    assert low.value < high.value
    assert 0.5 <= low.recall < high.recall
    assert high.recall >= 0.99


def test_all_of_a_small_graph_are_found() -> None:
    """A graph of two links for each vector leads to few of them."""
    built, query = build("HNSW2", recall=0.5), fakes.vector("w1 w2")
    truth = np.sort(built.dense_scores(query, np.arange(len(built))))[::-1]
    found = built.nearest(query[None], 50)[0]
    np.testing.assert_array_equal(np.sort(built.dense_scores(query, found))[::-1][:50], truth[:50])


def test_recall_is_that_of_numpy() -> None:
    index = build("IVF16,Flat", recall=0.8)
    texts = list(dict.fromkeys(passage.text for passage in index.passages()))
    passages = list(index.passages())
    vectors = unit(np.stack([fakes.vector(passage.text) for passage in passages])).astype(np.float64)
    tuned = index.generation.tuning
    assert tuned is not None
    opened = [segment.vectors for segment in index._segments]
    found = tuning.nearest(opened, vectors.astype(np.float32), 11, tuned.value)
    truth = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:11]
    recall = np.mean([np.isin(want, got).mean() for want, got in zip(truth, found, strict=True)])
    assert len(texts) > 200
    assert recall == pytest.approx(tuned.recall, abs=0.04)


def test_a_lossy_codec_says_how_much_is_lost() -> None:
    tuned = build("IVF4,PQ4x4").generation.tuning
    assert tuned is not None
    assert (tuned.parameter, tuned.value) == ("nprobe", 4)
    assert 0.1 < tuned.recall < 0.95


def test_too_few_passages_for_a_codec() -> None:
    card = fakes.CARD.model_copy(update={"factory": "IVF64,Flat"})
    with pytest.raises(ConfigError, match='"IVF64,Flat" can\'t be trained with 1 passage. Use "Flat"'):
        fakes.build("made", [Document("a", "w1")], card)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no index")
    with pytest.raises(IndexDamagedError, match="bad is damaged"):
        Vectors(tmp_path / "bad")


def test_the_codec_is_faiss_s_own(tmp_path: Path) -> None:
    build("IVF4,Flat")
    codec = current(store.existing("made")).codec
    assert codec is not None
    assert faiss.read_index(str(store.existing("made") / codec.name)).nlist == 4


@pytest.mark.parametrize("factory", ["HNSW0", "HNSW1", "IVF0,Flat", "IVF2,PQ0", "IVF2,PQ4x0", "OPQ0,IVF2,PQ4", "PQ4"])
def test_factories_that_would_kill_the_process_are_refused(factory: str) -> None:
    with pytest.raises(ConfigError, match=f'factory is "{factory}"'):
        Codec(factory, 16)
