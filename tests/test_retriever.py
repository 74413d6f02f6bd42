"""Retrieval against brute force over all passages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from odqa.embedder import Embedder
from odqa.errors import ConfigError
from odqa.index import Index, vectors
from odqa.recipes import Fusion, Mode, RetrieverRecipe
from odqa.retriever import Retriever, _reciprocal_ranks
from odqa.types import Hit
from tests.tiny import TEXTS

QUESTION = "who led the normans in the north of france?"


def hits(index: Index, embedder: Embedder, top_k: int = len(TEXTS), **settings: object) -> list[Hit]:
    return Retriever(index, RetrieverRecipe(**settings), embedder=embedder).retrieve([QUESTION], top_k=top_k)[0]


@pytest.fixture
def index(build: Callable[..., Index]) -> Index:
    return build()


@pytest.fixture
def cosines(embedder: Embedder) -> dict[str, float]:
    """Of each document's best sentence, from vectors in half precision."""
    query = embedder.embed_questions([QUESTION])[0].astype(np.float64)
    _, found = embedder.embed_sentences(TEXTS)
    scores = [(part.astype(np.float16).astype(np.float64) @ query / np.linalg.norm(query)).max() for part in found]
    return {f"d{number}": float(score) for number, score in enumerate(scores)}


def test_dense_search_ranks_by_cosine(index: Index, embedder: Embedder, cosines: dict[str, float]) -> None:
    found = hits(index, embedder, mode=Mode.DENSE)
    assert [hit.passage.document_id for hit in found] == sorted(cosines, key=lambda name: -cosines[name])
    assert [hit.score for hit in found] == pytest.approx(sorted(cosines.values(), reverse=True), abs=1e-6)


def test_sparse_search_needs_no_embedder_and_gives_only_what_matches(index: Index) -> None:
    retriever = Retriever(index, RetrieverRecipe(mode=Mode.SPARSE))
    (found,) = retriever.retrieve(["Vistula River"])
    assert [hit.passage.document_id for hit in found] == ["d3"]
    assert 0 < found[0].score < 1
    assert retriever.retrieve(["zebra xylophone"]) == [[]]


def test_fused_scores_are_the_weighted_sum_of_both_sides(
    index: Index, embedder: Embedder, cosines: dict[str, float]
) -> None:
    found = hits(index, embedder, dense_weight=2.0, sparse_weight=0.5, relevance_slope=3.0, relevance_intercept=-1.0)
    assert len(found) == len(TEXTS)
    for hit in found:
        assert hit.dense == pytest.approx(cosines[hit.passage.document_id], abs=1e-6)
        assert hit.score == pytest.approx(2.0 * hit.dense + 0.5 * hit.sparse)
        assert hit.relevance == pytest.approx(3.0 * hit.score - 1.0)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_a_fused_score_does_not_move_with_the_candidates(index: Index, embedder: Embedder) -> None:
    everything = {hit.passage.document_id: hit.score for hit in hits(index, embedder)}
    for top_k in range(1, len(TEXTS)):
        few = hits(index, embedder, top_k=top_k, candidates=1)
        assert len(few) == top_k
        for hit in few:
            assert hit.score == everything[hit.passage.document_id]


def test_reciprocal_rank_fusion_worked_by_hand(index: Index, embedder: Embedder) -> None:
    found = hits(index, embedder, fusion=Fusion.RRF)
    dense = sorted(found, key=lambda hit: -hit.dense)
    sparse = sorted(found, key=lambda hit: -hit.sparse)
    best = found[0]
    assert best.score == pytest.approx(1 / (61 + dense.index(best)) + 1 / (61 + sparse.index(best)))


def test_a_gpu_that_is_not_there_is_refused(index: Index, embedder: Embedder) -> None:
    if vectors.gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="faiss finds no GPU"):
        hits(index, embedder, gpu=True)


def test_reciprocal_ranks_give_nothing_for_no_match_and_the_same_for_the_same_score(
    index: Index, embedder: Embedder
) -> None:
    recipe = RetrieverRecipe(fusion=Fusion.RRF)
    found = Retriever(index, recipe, embedder=embedder).retrieve(["unknownword"], top_k=len(TEXTS))[0]
    assert [hit.sparse for hit in found] == [0.0] * len(TEXTS)
    assert [hit.dense for hit in found] == sorted((hit.dense for hit in found), reverse=True)
    assert found[0].score == 1 / 61
    np.testing.assert_allclose(_reciprocal_ranks(np.array([2.0, 5.0, 2.0, 1.0]), 3), [1 / 62, 1 / 61, 1 / 62, 0])
