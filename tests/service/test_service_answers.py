"""What the service answers, against the pipeline called directly."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from odqa.service.host import Loaded
from odqa.types import Result
from tests.service.server import ASK, Served, until

QUESTIONS = ["who led the normans?", "what is the capital of poland?", "what drives the piston?"]
OPTIONS: dict[str, Any] = {"n_best": 20, "abstain": "never", "top_k": 4}


def same(body: dict[str, Any], result: Result) -> None:
    """Field by field, but for times; scores move by rounding with the batch."""
    expected = json.loads(json.dumps(result.to_dict()))
    for key in expected.keys() - {"timings", "answers", "passages", "no_answer_probability"}:
        assert body[key] == expected[key]
    for mine, theirs in zip(body["answers"], expected["answers"], strict=True):
        assert mine.keys() - theirs.keys() == {"before", "answer", "after"}
        assert {key: mine[key] for key in ("text", "start", "end", "document_id", "title", "passage", "heading")} == {
            key: theirs[key] for key in ("text", "start", "end", "document_id", "title", "passage", "heading")
        }
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-3)
        assert mine["before"] + mine["answer"] + mine["after"] == mine["passage"]
        assert mine["answer"] == mine["text"]
        assert len(mine["evidence"]) == len(theirs["evidence"])
    assert [one.keys() for one in body["passages"]] == [one.keys() for one in expected["passages"]]


def test_an_answer_equals_the_pipelines(served: Served, loaded: Loaded) -> None:
    for question in QUESTIONS:
        response = served.post(ASK, {"question": question, **OPTIONS})
        assert response.status_code == 200
        body = response.json()
        same(body, loaded.pipeline.answer(question, **OPTIONS))
        assert body["request_id"] == response.headers["x-request-id"]
        assert body["timings"].keys() == {"queue", "retrieve", "read"}


def test_a_list_is_answered_in_its_order(served: Served, loaded: Loaded) -> None:
    body = served.post(ASK, {"question": QUESTIONS, **OPTIONS}).json()
    for one, result in zip(body["results"], loaded.pipeline.answer_batch(QUESTIONS, **OPTIONS), strict=True):
        same(one, result)


def test_abstention_is_the_askers_choice(served: Served, loaded: Loaded) -> None:
    for choice in ({"abstain": "threshold"}, {"abstain": "never"}, {"max_risk": 0.0}, {"max_risk": 1.0}):
        body = served.post(ASK, {"question": QUESTIONS[0], **choice}).json()
        expected = loaded.pipeline.answer(QUESTIONS[0], **choice)
        assert body["no_answer"] is expected.no_answer
        assert len(body["answers"]) == len(expected.answers)


def test_a_text_is_read_as_by_the_reader(served: Served, loaded: Loaded) -> None:
    context = "Die Émigrés 🎉 came from the north. " * 12
    body = served.post("/v1/read", {"question": QUESTIONS, "context": context, "abstain": "never"}).json()
    for question, one in zip(QUESTIONS, body["results"], strict=True):
        expected = loaded.pipeline.reader.answer(question, context, abstain="never")
        assert [(a["start"], a["end"], a["text"]) for a in one["answers"]] == [
            (a.start, a.end, a.text) for a in expected.answers
        ]
        assert all(context[a["start"] : a["end"]] == a["text"] for a in one["answers"])


def test_a_text_without_a_word_has_no_answer(served: Served) -> None:
    body = served.post("/v1/read", {"question": QUESTIONS[0], "context": " ", "abstain": "never"}).json()
    assert (body["no_answer"], body["answers"]) == (True, [])
    assert body["passages"][0]["margin"] is None


def test_passages_are_those_of_the_retriever(served: Served, loaded: Loaded) -> None:
    body = served.post("/v1/retrieve", {"question": QUESTIONS, "top_k": 5}).json()
    for one, hits in zip(body["results"], loaded.pipeline.retriever.retrieve(QUESTIONS, top_k=5), strict=True):
        assert [hit["document_id"] for hit in one["passages"]] == [hit.passage.document_id for hit in hits]
        assert [hit["score"] for hit in one["passages"]] == pytest.approx([hit.score for hit in hits], abs=1e-5)
    single = served.post("/v1/retrieve", {"question": QUESTIONS[0]}).json()
    assert len(single["passages"]) == 3
    assert single["generation"] == 1


def test_the_index_is_described(served: Served, loaded: Loaded) -> None:
    body = served.get("/v1/index").json()
    assert (body["index"], body["pipeline"], body["documents"]) == ("tiny", "tiny", 8)
    assert body["passages"] == len(loaded.pipeline.retriever.index)
    assert body["defaults"]["top_k"] == 3
    assert "/" not in body["embedder"]


def test_measures_count_what_happened(served: Served) -> None:
    before = measures(served)
    served.post(ASK, {"question": QUESTIONS, "abstain": "never", "top_k": 2})
    after = measures(served)
    assert after['odqa_answers_total{outcome="answer"}'] - before.get('odqa_answers_total{outcome="answer"}', 0) == 3
    assert after["odqa_passages_read_total"] - before["odqa_passages_read_total"] == 6
    assert after["odqa_queue_questions"] == 0
    assert after['odqa_stage_seconds_count{stage="retrieve"}'] > before.get('odqa_stage_seconds_count{stage="read"}', 0)


def measures(served: Served) -> dict[str, float]:
    lines = [line for line in served.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_log_has_the_request_but_not_the_question(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "odqa.service"):
        served.post(ASK, {"question": QUESTIONS[0]}, headers={"X-Request-ID": "mine-1"})
        until(lambda: any(record.fields.get("request_id") == "mine-1" for record in caplog.records))
    fields = next(record.fields for record in caplog.records if record.fields.get("request_id") == "mine-1")
    assert (fields["path"], fields["status"], fields["questions"]) == (ASK, 200, 1)
    assert QUESTIONS[0] not in str([record.fields for record in caplog.records])
