"""The client against a real server: it gives what the library gives."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator

import pytest

from odqa.client import AsyncClient, Client, RequestFailedError, UnreachableError
from odqa.service import Keys, create_app
from odqa.service.host import Loaded
from odqa.service.keys import Key, Right
from odqa.types import Result
from tests.cli.helpers import odqa
from tests.service.conftest import loaded  # noqa: F401
from tests.service.server import Served, serving

QUESTIONS = ["who led the normans?", "what drives the piston?"]


@pytest.fixture(scope="module")
def server(loaded: Loaded) -> Iterator[Served]:  # noqa: F811
    key = Key("reader", Right.READ, hashlib.sha256(b"see").hexdigest())
    with serving(create_app(lambda: loaded, keys=Keys((key,)))) as one:
        yield one


def same(mine: Result, theirs: Result) -> None:
    assert (mine.question, mine.index, mine.generation, mine.pipeline) == (
        theirs.question,
        theirs.index,
        theirs.generation,
        theirs.pipeline,
    )
    assert [(a.text, a.start, a.end, len(a.evidence), a.parts()) for a in mine.answers] == [
        (a.text, a.start, a.end, len(a.evidence), a.parts()) for a in theirs.answers
    ]
    assert [a.score for a in mine.answers] == pytest.approx([a.score for a in theirs.answers], abs=1e-3)
    assert [p.text for p in mine.passages] == [p.text for p in theirs.passages]


def test_the_client_gives_what_the_pipeline_gives(server: Served, loaded: Loaded) -> None:  # noqa: F811
    with Client(server.url, key="see") as client:
        same(client.ask(QUESTIONS[0], abstain="never"), loaded.pipeline.answer(QUESTIONS[0], abstain="never"))
        both = loaded.pipeline.answer_batch(QUESTIONS, top_k=2, n_best=9, max_risk=1.0)
        for mine, theirs in zip(client.ask_batch(QUESTIONS, top_k=2, n_best=9, max_risk=1.0), both, strict=True):
            same(mine, theirs)
        read = client.read(QUESTIONS[0], "Rollo led the Normans.", abstain="never")
        assert read.answers[0].text in "Rollo led the Normans."
        assert client.read("why?", " ").passages[0].margin is None
        hits = client.retrieve(QUESTIONS, top_k=2)
        expected = loaded.pipeline.retriever.retrieve(QUESTIONS, top_k=2)
        assert [[hit.passage for hit in one] for one in hits] == [[hit.passage for hit in one] for one in expected]
        assert client.index()["documents"] == 8


def test_the_coroutine_gives_the_same(server: Served, loaded: Loaded) -> None:  # noqa: F811
    async def many() -> list[Result]:
        async with AsyncClient(server.url, key="see") as client:
            assert (await client.index())["index"] == "tiny"
            assert len(await client.retrieve(QUESTIONS)) == 2
            assert (await client.read(QUESTIONS[0], "Rollo.")).question == QUESTIONS[0]
            return await asyncio.gather(*(client.ask(question, abstain="never") for question in QUESTIONS))

    for mine, question in zip(asyncio.run(many()), QUESTIONS, strict=True):
        same(mine, loaded.pipeline.answer(question, abstain="never"))


def test_what_the_service_refuses_is_told(server: Served) -> None:
    with Client(server.url) as client, pytest.raises(RequestFailedError, match="An API key is needed") as refused:
        client.ask(QUESTIONS[0])
    assert refused.value.status == 401
    assert refused.value.request_id
    with Client(server.url, key="see") as client:
        with pytest.raises(RequestFailedError, match="top_k"):
            client.ask(QUESTIONS[0], top_k=0)
        with pytest.raises(RequestFailedError, match="may read but not write"):
            client.remove("d/1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", "ftp://x", "http://[", ""])
def test_an_address_where_nothing_answers(url: str) -> None:
    with pytest.raises(UnreachableError, match="Can't reach|no address"), Client(url) as client:
        client.ask("why?")


def test_the_program_asks_a_server(server: Served) -> None:
    options = ["--server", server.url, "--json", "--abstain", "never"]
    done = odqa("ask", QUESTIONS[0], *options, ODQA_API_KEY="see")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["index"] == "tiny"
    assert "queue" in json.loads(done.stdout)["timings"]
    piped = odqa("ask", *options, stdin="\n".join(QUESTIONS), ODQA_API_KEY="see")
    assert [json.loads(line)["question"] for line in piped.stdout.splitlines()] == QUESTIONS
    plain = odqa("ask", QUESTIONS[0], "--server", server.url, "--abstain", "never", ODQA_API_KEY="see")
    assert "«" in plain.stdout
    refused = odqa("ask", QUESTIONS[0], "--server", server.url)
    assert refused.returncode == 1
    assert "An API key is needed" in refused.stderr
    assert odqa("ask", QUESTIONS[0], "--server", server.url, "--index", "other").returncode == 2
