"""The whole pipeline on tiny models: one golden run, and what must not move a score."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odqa.embedder import Embedder
from odqa.errors import ConfigError, IndexMismatchError, QuestionError
from odqa.index import Index
from odqa.pipeline import STRIDE, Pipeline, find_calibration, passages_needed
from odqa.reader import Calibration, Reader
from odqa.reader.calibration import Logistic
from odqa.recipes import Pipeline as Recipe
from odqa.recipes import ReaderRecipe, RetrieverRecipe
from odqa.retriever import Retriever
from odqa.types import Document, Hit, Passage, Reading, Result, Span
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


READ_LITTLE = Calibration(null_threshold=-100.0, right=Logistic(score=1.0), no_answer=Logistic(), margin_bound=0.0)


def test_reading_stops_where_nothing_can_change_the_answer(pipeline: Pipeline, embedder: Embedder) -> None:
    recipe = RetrieverRecipe(top_k=8, relevance_slope=20.0, relevance_intercept=-10.0)
    retriever = Retriever(pipeline.retriever.index, recipe, embedder=embedder)
    margins = [one.margin for one in Pipeline(retriever, pipeline.reader).answer(QUESTIONS[0]).passages]
    highest = max(margin for margin in margins if margin is not None)
    far = READ_LITTLE.model_copy(update={"margin_bound": highest})
    settled = Pipeline(retriever, pipeline.reader, calibration=READ_LITTLE)
    bounded = Pipeline(retriever, pipeline.reader, calibration=far)
    for question in QUESTIONS:
        full = Pipeline(retriever, pipeline.reader).answer(question, abstain="never")
        assert full.passages_read == len(full.passages) == 8
        little, safe = settled.answer(question, abstain="never"), bounded.answer(question, abstain="never")
        assert little.passages_read % STRIDE == 0
        assert STRIDE <= little.passages_read <= safe.passages_read <= 8
        assert [one.document_id for one in little.passages] == [one.document_id for one in full.passages]
        assert all((one.margin is None) == (row >= little.passages_read) for row, one in enumerate(little.passages))
    assert settled.answer(QUESTIONS[0]).passages_read < 8
    asked = bounded.answer_batch(QUESTIONS, abstain="never")
    assert [one.passages_read for one in asked] == [bounded.answer(q, abstain="never").passages_read for q in QUESTIONS]


@given(
    relevances=st.lists(st.floats(-9, 9), min_size=1, max_size=10),
    margins=st.lists(st.floats(-9, 9), min_size=10, max_size=10),
)
def test_under_a_true_bound_the_best_answer_is_always_read(relevances: list[float], margins: list[float]) -> None:
    passage = Passage("d", "word")
    hits = [Hit(passage, 0.0, relevance=one) for one in sorted(relevances, reverse=True)]
    readings = [Reading((Span(0, 4, margin),)) for margin in margins[: len(hits)]]
    count = passages_needed(hits, readings, max(margins))
    scores = [hit.relevance + reading.margin for hit, reading in zip(hits, readings, strict=True)]
    assert max(scores[:count]) == max(scores)
    assert passages_needed(hits, readings, math.inf) == len(hits)


def test_a_calibration_gives_the_threshold_where_the_recipe_gives_none(pipeline: Pipeline, reader: Reader) -> None:
    fitted = READ_LITTLE.model_copy(update={"null_threshold": 7.0})
    assert Pipeline(pipeline.retriever, reader, calibration=fitted).null_threshold == 7.0
    own = Reader(reader.recipe.model_copy(update={"null_threshold": 2.0}), device="cpu")
    assert Pipeline(pipeline.retriever, own, calibration=fitted).null_threshold == 2.0


def test_another_generation_is_asked_as_the_one_before(pipeline: Pipeline) -> None:
    before = Pipeline(pipeline.retriever, pipeline.reader, name="mine", calibration=READ_LITTLE)
    after = before.over(pipeline.retriever.index)
    assert (after.name, after.calibration, after.reader) == ("mine", READ_LITTLE, pipeline.reader)
    assert after.retriever.embedder is before.retriever.embedder
    assert after.answer(QUESTIONS[0]).answers == before.answer(QUESTIONS[0]).answers


def test_a_calibration_is_found_beside_the_reader_or_by_the_recipe(
    pipeline: Pipeline, reader_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(reader_folder, folder)
    index = pipeline.retriever.index
    hybrid, sparse = (Retriever(index, RetrieverRecipe(mode=mode)) for mode in ("hybrid", "sparse"))
    fitted = READ_LITTLE.model_copy(update={"retriever": hybrid.settings})
    (folder / "calibration.json").write_text(fitted.model_dump_json())
    recipe = Recipe(
        description="", reader=ReaderRecipe(model=str(folder), max_length=48, doc_stride=12, max_answer_length=6)
    )
    near = Reader(recipe.reader, device="cpu")
    assert find_calibration(recipe, hybrid, near) == fitted
    assert find_calibration(recipe, sparse, near) is None
    named = recipe.model_copy(update={"calibration": str(folder / "calibration.json")})
    with pytest.raises(ConfigError, match="another retriever .mode was 'hybrid', now 'sparse'"):
        find_calibration(named, sparse, near)
    elsewhere = READ_LITTLE.model_copy(update={"retriever": hybrid.settings | {"embedder": "another"}})
    (folder / "calibration.json").write_text(elsewhere.model_dump_json())
    assert find_calibration(recipe, hybrid, near) is None
    with pytest.raises(ConfigError, match="another retriever .embedder was 'another', now '[0-9a-f]{64}'"):
        find_calibration(named, hybrid, near)
    (folder / "calibration.json").unlink()
    assert find_calibration(recipe, hybrid, near) is None
