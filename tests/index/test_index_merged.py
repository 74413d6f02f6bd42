"""The merged index that a GPU holds, on the CPU: the same rows as the segments give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from odqa.errors import ConfigError
from odqa.index import Index, change, merged, store, vectors
from odqa.types import Document
from tests.index import fakes

QUERIES = np.stack([fakes.vector(f"question {number}") for number in range(12)])


def build(factory: str) -> tuple[Index, Index]:
    """An index of many segments with removed documents, as it is and merged."""
    card = fakes.CARD.model_copy(update={"factory": factory})
    documents = [*fakes.make_documents(60), *(Document(f"twin{number}", "w1 w2") for number in range(20))]
    fakes.build("made", documents, card, segment_passages=30)
    change.remove(store.existing("made"), ids=["d1", "d7", "twin3"])
    plain, joined = Index.open("made"), Index.open("made")
    joined.merge(gpu=False)
    return plain, joined


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "IVF4,SQ8"])
@pytest.mark.parametrize("k", [1, 5, 500])
def test_merged_search_is_that_of_the_segments(factory: str, k: int) -> None:
    plain, joined = build(factory)
    queries = np.vstack([QUERIES, fakes.vector("w1 w2")[None]])
    for left, right in zip(plain.nearest(queries, k), joined.nearest(queries, k), strict=True):
        assert sorted(left) == sorted(right)
    for left, right in zip(
        plain.nearest(queries, k, where="year > 1990"), joined.nearest(queries, k, where="year > 1990"), strict=True
    ):
        assert sorted(left) == sorted(right)


def test_beyond_the_cap_the_segments_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, joined = build("Flat")
    monkeypatch.setattr(merged, "MOST_ROWS", 10)
    assert joined._together(QUERIES, 5) is not None
    assert joined._together(QUERIES, 9) is None
    assert [sorted(rows) for rows in joined.nearest(QUERIES, 9)] == [sorted(rows) for rows in plain.nearest(QUERIES, 9)]


def test_one_thread_owns_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, joined = build("Flat")
    names = set()
    search = vectors.search

    def noted(*arguments: object) -> object:
        import threading

        names.add(threading.current_thread().name)
        return search(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vectors, "search", noted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: joined.nearest(query[None], 3)[0], QUERIES))
    assert len(names) == 1
    assert [sorted(rows) for rows in found] == [sorted(rows) for rows in plain.nearest(QUERIES, 3)]


def test_what_can_not_go_to_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match='factory "HNSW8" can\'t be merged for a GPU; Flat and IVF can'):
        build("HNSW8")
    if not vectors.gpus():
        plain, _ = build("Flat")
        with pytest.raises(ConfigError, match="faiss finds no GPU. Install the GPU build"):
            plain.merge(gpu=True)


@pytest.mark.skipif(not vectors.gpus(), reason="needs a GPU and faiss for it")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat"])
def test_a_gpu_finds_what_the_cpu_finds(factory: str, half: bool) -> None:
    plain, joined = build(factory)
    joined.merge(gpu=True, half=half)
    for query, left, right in zip(QUERIES, plain.nearest(QUERIES, 5), joined.nearest(QUERIES, 5), strict=True):
        found = np.sort(joined.dense_scores(query, right))
        np.testing.assert_allclose(found, np.sort(plain.dense_scores(query, left)), atol=1e-3 if half else 1e-6)


def test_an_index_with_nothing_in_it_merges_into_nothing() -> None:
    fakes.build("made", fakes.make_documents(3))
    change.remove(store.existing("made"), condition='id != ""')
    index = Index.open("made")
    index.merge(gpu=False)
    assert [list(rows) for rows in index.nearest(QUERIES[:2], 3)] == [[], []]


def test_an_overtaken_index_merges_all_the_same() -> None:
    card = fakes.CARD.model_copy(update={"factory": "IVF4,Flat"})
    fakes.build("made", fakes.make_documents(60), card)
    index = Index.open("made")
    for _ in range(2):
        fakes.build("made", fakes.make_documents(60, seed=1), card)
    plain = [sorted(rows) for rows in index.nearest(QUERIES, 5)]
    index.merge(gpu=False)
    assert [sorted(rows) for rows in index.nearest(QUERIES, 5)] == plain
