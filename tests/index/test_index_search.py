"""Search against NumPy brute force and bm25s, and what cuts into segments must not move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bm25s
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odqa.index import Index
from odqa.index.segment import Segment
from odqa.index.terms import Analyzer, Bm25, with_ties
from odqa.index.vectors import Codec, Vectors, unit
from odqa.recipes import Card, TermsCard
from odqa.types import Document, Passage
from tests.index import fakes

QUESTIONS = ["w1 w2 w3", "w7 w7 w7 w50", "w3 nowhere w59 w59", "nowhere at all", "w0"]
PROPERTY = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


def save(path, factory: str, vectors: np.ndarray) -> Vectors:
    codec = Codec(factory, vectors.shape[1])
    if not codec.trained:
        codec.train(unit(vectors))
    with path.open("wb") as file:
        codec.write(codec.encode(unit(vectors)), file.write)
    return Vectors(path)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_flat_search_is_the_cosine_of_numpy(tmp_path, scale: float) -> None:
    chance = np.random.default_rng(3)
    vectors = (chance.normal(size=(200, 24)) * scale * chance.uniform(0.1, 50, (200, 1))).astype(np.float32)
    vectors[17] = 0
    queries = (chance.normal(size=(9, 24)) / scale).astype(np.float32)
    opened = save(tmp_path / "v.faiss", "Flat", vectors)
    wide, lengths = vectors.astype(np.float64), np.linalg.norm(vectors.astype(np.float64), axis=1)
    for query, rows, scores in zip(queries, *reversed(opened.nearest(queries, 200)), strict=True):
        truth = wide @ query / np.where(lengths == 0, 1, lengths) / np.linalg.norm(query.astype(np.float64))
        assert sorted(rows) == list(range(200))
        np.testing.assert_allclose(scores, truth[rows], atol=1e-6)
        np.testing.assert_allclose(truth[rows], np.sort(truth)[::-1], atol=1e-6)
        np.testing.assert_allclose(opened.scores(query, np.arange(200)), truth, atol=1e-6)
        assert opened.scores(query, np.array([17]))[0] == 0


def test_a_query_of_zeros_finds_without_error(tmp_path) -> None:
    opened = save(tmp_path / "v.faiss", "Flat", np.eye(5, dtype=np.float32))
    assert opened.nearest(np.zeros((1, 5), np.float32), 5)[0].tolist() == [[0.0] * 5]


def titled(passages: Iterable[Passage]) -> list[str]:
    return [f"{passage.title}\n{passage.text}" for passage in passages]


def oracle(passages: Sequence[Passage], card: TermsCard, question: str) -> np.ndarray:
    """bm25s over all passages with their titles, on the same terms, words and pairs apart."""
    texts, analyzer = titled(passages), Analyzer(card)
    model = bm25s.BM25(method="lucene", k1=card.k1, b=card.b, dtype="float64")
    model.index(analyzer.terms(texts), show_progress=False)
    asked = [term for term in analyzer.terms([question])[0] if term in model.vocab_dict]
    sides = [[term for term in asked if " " not in term], [term for term in asked if " " in term]]
    words, pairs = (model.get_scores(terms) if terms else np.zeros(len(texts)) for terms in sides)
    return words + card.pairs * pairs


@pytest.mark.parametrize("segment_passages", [3, 1000])
@pytest.mark.parametrize(
    "terms",
    [
        TermsCard(stemmer="", stop_words="", pairs=0),
        TermsCard(k1=0.4, b=0.7),
        TermsCard(stemmer="german", stop_words="german", b=0.0),
    ],
)
def test_sparse_search_is_bm25s(segment_passages: int, terms: TermsCard) -> None:
    documents = fakes.make_documents(40)
    fakes.build("made", documents, Card(terms=terms), segment_passages=segment_passages)
    index = Index.open("made")
    passages = list(index.passages())
    for question in [*QUESTIONS, documents[3].text, documents[3].title]:
        expected = oracle(passages, terms, question)
        search = index.sparse(question)
        scores = search.scores(np.arange(len(passages)))
        np.testing.assert_allclose(scores * search.reach, expected, atol=1e-6)
        assert (scores < 1).all()
        some = np.array([31, 2, 2, 39])
        assert (search.scores(some) == scores[some]).all()


@settings(PROPERTY, max_examples=100)
@given(
    documents=st.lists(st.lists(st.integers(0, 12), max_size=12), min_size=1, max_size=60),
    question=st.lists(st.integers(0, 5), max_size=6),
    count=st.integers(1, 20),
    cut=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    filtered=st.booleans(),
)
def test_the_largest_of_the_sparse_scores_are_found_without_looking_at_all(
    documents: list[list[int]], question: list[int], count: int, cut: int, seed: int, filtered: bool
) -> None:
    """Words come the more often the smaller their number, so that the heavy terms settle most questions."""
    texts = [" ".join(f"w{number * number // 30}" for number in words) for words in documents]
    postings = [Analyzer(fakes.CARD.terms).postings(texts[begin : begin + cut]) for begin in range(0, len(texts), cut)]
    search = Bm25(postings, fakes.CARD.terms).search(" ".join(f"w{number}" for number in question))
    allowed = np.random.default_rng(seed).random(len(texts)) < 0.7 if filtered else None
    scores = search.scores(np.arange(len(texts)))
    scores[[] if allowed is None else ~allowed] = 0
    positive = np.flatnonzero(scores)
    assert search.largest(count, allowed).tolist() == positive[with_ties(scores[positive], count)].tolist()


def test_terms_by_hand() -> None:
    texts = ["The Normans' raids on the river Seine, a river", "", "seine a"]
    words = [["norman", "raid", "river", "sein", "river"], [], ["sein"]]
    pairs = [["the norman", "norman raid", "raid on", "the river", "river sein", "sein river"], [], []]
    assert Analyzer(TermsCard(pairs=0)).terms(texts) == words
    assert Analyzer(TermsCard()).terms(texts) == [one + two for one, two in zip(words, pairs, strict=True)]


def test_row_i_is_the_same_passage_everywhere() -> None:
    documents = fakes.make_documents(30)
    fakes.build("made", documents, segment_passages=7)
    index = Index.open("made")
    expected = fakes.passages_of(documents)
    assert len(index.generation.segments) > 5
    assert [fakes.key(index.passage(row)) for row in range(len(index))] == [fakes.key(one) for one in expected]
    for row, passage in enumerate(expected):
        stored = fakes.vector(passage.text)
        assert index.dense_scores(stored, np.array([row]))[0] == pytest.approx(1, abs=1e-6)
        assert row in index.nearest(stored[None], 1)[0]
    lengths = np.concatenate([segment.postings.lengths for segment in index._segments])
    assert lengths.tolist() == [len(found) for found in Analyzer(fakes.CARD.terms).terms(titled(expected))]


def found(index: Index, question: str, **options) -> list[tuple]:
    where = options.pop("where", None)
    hits = fakes.retriever(index, candidates=8, **options).retrieve([question], top_k=6, where=where)[0]
    return [(fakes.key(hit.passage), hit.score, hit.dense, hit.sparse) for hit in hits]


@PROPERTY
@given(cut=st.integers(1, 40), mode=st.sampled_from(["dense", "sparse", "hybrid"]), order=st.randoms())
def test_segment_cuts_and_order_move_no_score(cut: int, mode: str, order) -> None:
    documents = fakes.make_documents(25)
    documents += [Document(f"twin{number}", documents[0].text) for number in range(12)]
    fakes.build("whole", documents)
    order.shuffle(documents)
    fakes.build("cut", documents, segment_passages=cut)
    for question in QUESTIONS:
        left, right = found(Index.open("whole"), question, mode=mode), found(Index.open("cut"), question, mode=mode)
        assert left == right


def test_retrieval_is_brute_force() -> None:
    documents = fakes.make_documents(50)
    fakes.build("made", documents, segment_passages=11)
    index = Index.open("made")
    passages = fakes.passages_of(documents)
    texts = [passage.text for passage in passages]
    for question in QUESTIONS:
        dense = fakes.cosines(texts, fakes.vector(question))
        sparse, reach = oracle(passages, fakes.CARD.terms, question), index.sparse(question).reach
        fused = 0.3 * dense + 0.7 * (sparse / reach if reach else sparse)
        hits = fakes.retriever(index, candidates=500, dense_weight=0.3, sparse_weight=0.7).retrieve([question])[0]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(fused)[::-1][:10], atol=1e-6)


def test_equal_texts_share_an_embedding_but_no_row() -> None:
    embedder = fakes.HashEmbedder()
    documents = [Document("a", "w1 w2\nw1 w2"), Document("b", "w1 w2"), Document("c", "w3")]
    report = fakes.build("twins", documents, embedder=embedder)
    assert (report.passages, embedder.seen) == (4, ["w1 w2", "w3"])
    hits = fakes.retriever(Index.open("twins")).retrieve(["w1"], top_k=3)[0]
    assert [fakes.key(hit.passage) for hit in hits] == [("a", 0, "w1 w2"), ("a", 6, "w1 w2"), ("b", 0, "w1 w2")]


def test_empty_documents_are_skipped_and_counted() -> None:
    documents = [Document("a", ""), Document("b", " \n\t"), Document("c", "w1")]
    assert (fakes.build("made", documents).skipped, len(Index.open("made"))) == (2, 1)


def test_segments_open_alone() -> None:
    fakes.build("made", fakes.make_documents(10), segment_passages=4)
    index = Index.open("made")
    assert sum(len(Segment(index._folder, stamp)) for stamp in index.generation.segments) == len(index)
