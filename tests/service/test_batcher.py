"""The micro-batcher alone: who comes when, and what becomes of the late."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import wait

import pytest

from odqa.service.batcher import Batcher, Job
from odqa.service.failures import DeadlineError, NotReadyError, QueueFullError


class Gate:
    """Work that waits until it is let through, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = threading.Event()
        self.begun = threading.Event()

    def run(self, works: Sequence[str]) -> list[str]:
        self.batches.append(list(works))
        self.begun.set()
        assert self.open.wait(10)
        if "bad" in works:
            raise ValueError("bad work")
        return [work.upper() for work in works]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def batcher(gate: Gate) -> Iterator[Batcher[str, str]]:
    made = Batcher(gate.run, batch_tokens=4, queue_tokens=100)
    yield made
    gate.open.set()
    made.close()


def submit(batcher: Batcher[str, str], *works: str, seconds: float = 60, cost: int = 1) -> Job[str, str]:
    return batcher.submit(works, [cost] * len(works), seconds=seconds)


def blocked(batcher: Batcher[str, str], gate: Gate) -> Job[str, str]:
    job = submit(batcher, "first")
    assert gate.begun.wait(10)
    return job


def test_requests_take_turns(batcher: Batcher[str, str], gate: Gate) -> None:
    jobs = [blocked(batcher, gate)]
    jobs.append(submit(batcher, *(f"a{number}" for number in range(6))))
    jobs += [submit(batcher, "b0", "b1"), submit(batcher, "c0")]
    gate.open.set()
    wait([job.future for job in jobs], 10)
    assert gate.batches == [["first"], ["a0", "b0", "c0", "a1"], ["b1", "a2", "a3", "a4"], ["a5"]]
    assert jobs[1].future.result() == ["A0", "A1", "A2", "A3", "A4", "A5"]


def test_a_batch_is_bounded_by_tokens_but_never_empty(batcher: Batcher[str, str], gate: Gate) -> None:
    first = blocked(batcher, gate)
    jobs = [submit(batcher, "big", cost=9), submit(batcher, "x", "y", cost=3)]
    gate.open.set()
    wait([job.future for job in [first, *jobs]], 10)
    assert gate.batches == [["first"], ["big"], ["x"], ["y"]]


def test_a_full_queue_refuses(batcher: Batcher[str, str], gate: Gate) -> None:
    blocked(batcher, gate)
    submit(batcher, "waits", cost=60)
    with pytest.raises(QueueFullError, match="busy") as refused:
        submit(batcher, "too much", cost=60)
    assert int(dict(refused.value.headers)["Retry-After"]) >= 1
    assert batcher.depth() == (1, 60)


def test_what_would_come_too_late_is_refused_at_once(gate: Gate) -> None:
    gate.open.set()
    batcher = Batcher(gate.run, batch_tokens=4, queue_tokens=10**9)
    try:
        submit(batcher, "measured", cost=4).future.result(10)
        gate.open.clear()
        gate.begun.clear()
        blocked(batcher, gate)
        batcher._rate = 10.0
        submit(batcher, "takes 5 seconds", cost=50)
        with pytest.raises(QueueFullError):
            submit(batcher, "hurried", cost=10, seconds=3)
        assert not submit(batcher, "patient", cost=10, seconds=30).future.done()
    finally:
        gate.open.set()
        batcher.close()


def test_a_long_request_does_not_turn_a_short_one_away(batcher: Batcher[str, str], gate: Gate) -> None:
    blocked(batcher, gate)
    batcher._rate = 10.0
    submit(batcher, *["long"] * 50)
    submit(batcher, "short", seconds=1)


def test_the_late_and_the_abandoned_are_left_out(batcher: Batcher[str, str], gate: Gate) -> None:
    first = blocked(batcher, gate)
    late, abandoned, good = submit(batcher, "late", seconds=0), submit(batcher, "left"), submit(batcher, "good")
    abandoned.abandon()
    gate.open.set()
    assert good.future.result(10) == ["GOOD"]
    assert first.future.result(10) == ["FIRST"]
    with pytest.raises(DeadlineError):
        late.future.result(10)
    assert gate.batches == [["first"], ["good"]]


def test_one_bad_piece_takes_no_other_down(batcher: Batcher[str, str], gate: Gate) -> None:
    blocked(batcher, gate)
    good, bad = submit(batcher, "good"), submit(batcher, "bad")
    gate.open.set()
    assert good.future.result(10) == ["GOOD"]
    with pytest.raises(ValueError, match="bad work"):
        bad.future.result(10)


def test_closing_finishes_what_was_accepted(batcher: Batcher[str, str], gate: Gate) -> None:
    blocked(batcher, gate)
    jobs = [submit(batcher, "a", "b", "c"), submit(batcher, "d")]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.open.set()
    closing.join(10)
    assert [job.future.result(0) for job in jobs] == [["A", "B", "C"], ["D"]]
    with pytest.raises(NotReadyError, match="shutting down"):
        submit(batcher, "after")


def test_a_result_that_meets_its_deadline_halfway_ends_nothing(batcher: Batcher[str, str], gate: Gate) -> None:
    for work in ("bad", "good"):
        job = submit(batcher, work)
        assert gate.begun.wait(10)
        job.future.done = lambda: False  # type: ignore[method-assign]
        job.future.set_exception(DeadlineError("too late"))
    gate.open.set()
    assert submit(batcher, "next").future.result(10) == ["NEXT"]
