"""Overload, deadlines, clients that leave, and the end, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from odqa.service import Settings, create_app
from odqa.service.host import Loaded
from tests.service.server import ASK, Served, serving, until

QUESTION = "who led the normans?"


class Slow:
    """The pipeline behind a gate that tests open and shut."""

    def __init__(self, loaded: Loaded) -> None:
        self._inner = loaded.pipeline
        self.reader, self.retriever, self.name = self._inner.reader, self._inner.retriever, self._inner.name
        self.open, self.begun = threading.Event(), threading.Event()
        self.open.set()
        self.asked: list[str] = []

    def answer_batch(self, questions: list[str], **options: Any) -> Any:
        self.asked += questions
        self.begun.set()
        assert self.open.wait(20)
        return self._inner.answer_batch(questions, **options)

    def shut(self) -> None:
        self.asked.clear()
        self.begun.clear()
        self.open.clear()


@pytest.fixture(scope="module")
def slow(loaded: Loaded) -> Slow:
    return Slow(loaded)


@pytest.fixture(scope="module")
def held(slow: Slow, loaded: Loaded) -> Iterator[Served]:
    pipeline: Any = slow
    settings = Settings(deadline=20, queue_tokens=1_000, batch_tokens=1)
    with serving(create_app(lambda: replace(loaded, pipeline=pipeline), settings=settings)) as one:
        yield one
        slow.open.set()


@pytest.fixture(autouse=True)
def gate(slow: Slow) -> Iterator[None]:
    slow.shut()
    yield
    slow.open.set()


def ask(served: Served, question: str = QUESTION, **options: Any) -> httpx2.Response:
    return served.post(ASK, {"question": question, "top_k": 3, **options})


def waiting(served: Served) -> float:
    lines = served.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("odqa_queue_questions "))


def test_a_full_queue_answers_429_and_all_accepted_are_answered(held: Served, slow: Slow) -> None:
    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(ask, held) for _ in range(24)]
        until(lambda: any(one.done() for one in asked))
        refused = next(one for one in asked if one.done()).result()
        slow.open.set()
        statuses = [one.result().status_code for one in asked]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"] == "The service is busy. Try again later."
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 2


def test_a_missed_deadline_answers_504_and_is_not_worked_on(held: Served, slow: Slow) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, held)
        assert slow.begun.wait(10)
        late = ask(held, "why so late?", timeout=0.1)
        slow.open.set()
        assert first.result().status_code == 200
    assert late.status_code == 504
    assert late.json()["error"] == "The answer did not come in time."
    assert ask(held).status_code == 200
    assert "why so late?" not in slow.asked


def test_a_client_that_leaves_is_not_worked_for(held: Served, slow: Slow) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, held)
        assert slow.begun.wait(10)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(held.url + ASK, json={"question": "who left?"}, timeout=0.2)
        until(lambda: waiting(held) == 0)
        slow.open.set()
        assert first.result().status_code == 200
    assert ask(held).status_code == 200
    assert "who left?" not in slow.asked


def test_a_request_of_many_does_not_starve_one_of_one(held: Served, slow: Slow) -> None:
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, held)
        assert slow.begun.wait(10)
        many = pool.submit(held.post, ASK, {"question": ["what drives the piston?"] * 12, "top_k": 1})
        until(lambda: waiting(held) == 12)
        one = pool.submit(ask, held, "who came last?", top_k=1)
        until(lambda: waiting(held) == 13)
        slow.open.set()
        assert {first.result().status_code, many.result().status_code, one.result().status_code} == {200}
    assert slow.asked.index("who came last?") <= 3


def test_the_end_waits_for_what_was_accepted(slow: Slow, loaded: Loaded) -> None:
    pipeline: Any = slow
    slow.open.set()
    with (
        serving(create_app(lambda: replace(loaded, pipeline=pipeline))) as one,
        ThreadPoolExecutor(4) as pool,
    ):
        slow.shut()
        asked = [pool.submit(ask, one) for _ in range(3)]
        until(lambda: len(slow.asked) + waiting(one) == 3)
        one.server.should_exit = True
        until(lambda: refused(one))
        slow.open.set()
        assert [each.result().status_code for each in asked] == [200, 200, 200]
        one.thread.join(20)
        assert not one.thread.is_alive()


def refused(served: Served) -> bool:
    try:
        served.get("/healthz")
    except httpx2.TransportError:
        return True
    return False
