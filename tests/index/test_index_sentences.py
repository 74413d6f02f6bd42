"""A passage's dense score is that of its best sentence, wherever the passage is stored."""

from __future__ import annotations

import numpy as np
import pytest

from odqa.errors import IndexDamagedError
from odqa.index import Index, change, generation, store
from odqa.types import Document
from tests.index import fakes

CARD = fakes.CARD.model_copy(update={"sentences": True})
QUERY = fakes.vector("any")


def check(name: str) -> None:
    """Scores equal brute force over words, in half precision, and don't move with what else is asked for."""
    index = Index.open(name)
    rows = np.flatnonzero(index.rows())
    truth = [fakes.cosines(index.passage(int(row)).text.split(), QUERY).max() for row in rows]
    scores = index.dense_scores(QUERY, rows)
    np.testing.assert_allclose(scores, truth, atol=1e-3)
    some = np.random.default_rng(0).permutation(len(rows))[:5]
    assert index.dense_scores(QUERY, rows[some]).tolist() == scores[some].tolist()
    assert store.verify(name) == []


@pytest.mark.parametrize("factory", ["Flat", "IVF2,Flat"])
def test_the_best_sentence_counts_after_every_change(factory: str) -> None:
    documents = fakes.make_documents(30)
    fakes.build("made", documents, CARD.model_copy(update={"factory": factory}), segment_passages=11)
    check("made")
    embedder = fakes.HashEmbedder()
    fakes.add("made", [Document("copy", documents[0].text), Document("new", "w1 brand new")], embedder=embedder)
    assert embedder.seen == ["w1 brand new"]
    change.remove(store.existing("made"), ids=[documents[3].id, "nobody"])
    check("made")
    change.compact(store.existing("made"))
    assert len(Index.open("made").generation.segments) == 1
    check("made")


def test_the_retriever_ranks_by_the_best_sentence() -> None:
    documents = [Document("whole", "w1 w2 w3"), Document("part", "w1 w2 w3 w4 w5 w6 w7"), Document("none", "w8")]
    fakes.build("made", documents, CARD)
    hits = fakes.retriever(Index.open("made"), mode="dense").retrieve(["w6"])[0]
    assert hits[0].passage.document_id == "part"
    assert hits[0].dense == pytest.approx(1, abs=1e-3)


def test_an_index_of_an_older_format_is_to_be_rebuilt(tmp_path) -> None:
    fakes.build("made", fakes.make_documents(3), CARD)
    body = Index.open("made").generation.model_dump(mode="json")
    with pytest.raises(IndexDamagedError, match="has format 1, older than this odqa reads .* Rebuild the index"):
        generation.decode(generation.seal({**body, "format": 1}), tmp_path)
