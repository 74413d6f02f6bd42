"""The whole pipeline on tiny models: one golden run, and what must not move a score."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odqa.embedder import Embedder
from odqa.errors import ConfigError, IndexMismatchError, QuestionError
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Retriever
from odqa.types import Document, Result
from tests.tiny import TEXTS, make_embedder

QUESTIONS = ["who led the normans?", "what is the capital of poland?", "what drives the piston?"]
PROPERTY = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scores(result: Result) -> dict[tuple[str, int, int], float]:
    return {(item.document_id, item.start, item.end): item.score for a in result.answers for item in a.evidence}


def same(left: Result, right: Result) -> None:
    shared = scores(left).keys() & scores(right).keys()
    assert shared
    for place in shared:
        assert scores(left)[place] == pytest.approx(scores(right)[place], abs=1e-3)


def ask(pipeline: Pipeline, question: str, top_k: int = 3) -> Result:
    return pipeline.answer(question, top_k=top_k, n_best=500, abstain="never")


def test_answers_quote_their_documents(pipeline: Pipeline, documents: list[Document]) -> None:
    texts = {document.id: document.text for document in documents}
    for result in pipeline.answer_many(QUESTIONS, abstain="never", n_best=20):
        assert not result.no_answer
        for answer in result.answers:
            for item in answer.evidence:
                assert texts[item.document_id][item.start : item.end] == item.text
                assert "".join(item.parts()) == item.passage


@PROPERTY
@given(question=st.sampled_from(QUESTIONS), top_k=st.integers(1, len(TEXTS)))
def test_a_score_does_not_move_with_top_k(pipeline: Pipeline, question: str, top_k: int) -> None:
    same(ask(pipeline, question, top_k), ask(pipeline, question, len(TEXTS)))


def test_a_score_does_not_move_with_the_batch(pipeline: Pipeline) -> None:
    together = pipeline.answer_batch(QUESTIONS * 3, n_best=500, abstain="never")
    for question, result in zip(QUESTIONS * 3, together, strict=True):
        same(ask(pipeline, question), result)


@PROPERTY
@given(order=st.permutations(range(len(TEXTS))), cut=st.integers(1, len(TEXTS)))
def test_a_score_does_not_move_with_order_or_segment_cuts(
    build: Callable[..., Index],
    embedder: Embedder,
    reader: Reader,
    documents: list[Document],
    monkeypatch: pytest.MonkeyPatch,
    order: list[int],
    cut: int,
) -> None:
    recipe = RetrieverRecipe(top_k=3)
    whole = Pipeline(Retriever(build("whole", replace=True), recipe, embedder=embedder), reader)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["odqa.index.build"], "SEGMENT_CHARACTERS", cut)
        index = build("cut", [documents[place] for place in order], replace=True)
    pieces = Pipeline(Retriever(index, recipe, embedder=embedder), reader)
    for question in QUESTIONS:
        left, right = ask(whole, question), ask(pieces, question)
        assert [passage.document_id for passage in left.passages] == [p.document_id for p in right.passages]
        same(left, right)


def test_equal_texts_are_merged_with_all_their_evidence(
    build: Callable[..., Index], embedder: Embedder, reader: Reader
) -> None:
    twins = build("twins", [Document("a", TEXTS[6]), Document("b", TEXTS[6]), Document("c", TEXTS[0])])
    result = ask(Pipeline(Retriever(twins, embedder=embedder), reader), QUESTIONS[0])
    best = next(answer for answer in result.answers if answer.document_id == "a")
    assert {item.document_id for item in best.evidence} >= {"a", "b"}


def test_another_embedder_is_refused(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Embedder(make_embedder(tmp_path_factory.mktemp("other"), seed=1), device="cpu")
    with pytest.raises(IndexMismatchError, match="was built with .* Rebuild it: odqa index build tiny --replace"):
        Retriever(pipeline.retriever.index, embedder=other)


def test_bad_requests_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(QuestionError, match="empty"):
        pipeline.answer("  ")
    with pytest.raises(QuestionError, match="at most"):
        pipeline.answer("why " * 100)
    with pytest.raises(ConfigError, match="top_k is 0"):
        pipeline.answer(QUESTIONS[0], top_k=0)


def test_no_question_is_no_result(pipeline: Pipeline) -> None:
    assert pipeline.answer_batch([]) == []
