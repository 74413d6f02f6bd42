"""The micro-batcher: what waits together is worked on together, one piece of each request in turn."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from odqa.service.failures import DeadlineError, NotReadyError, QueueFullError

W = TypeVar("W")
R = TypeVar("R")

_SMOOTHING = 0.2
_TRUST = 0.8
"""The share of a deadline that a request may be expected to take: expectations are only that."""
_LONGEST_WAIT = 60


@dataclass(eq=False, slots=True)
class Job(Generic[W, R]):
    """One request: pieces of work with their cost in estimated tokens, and the future of all their results.

    `deadline` and `submitted` are seconds of the monotonic clock, `waited` the seconds before its first turn.
    """

    works: Sequence[W]
    costs: Sequence[int]
    deadline: float
    submitted: float
    future: Future[list[R]] = field(default_factory=Future)
    waited: float = 0.0
    abandoned: bool = False
    taken: int = 0
    results: dict[int, R] = field(default_factory=dict)

    def abandon(self) -> None:
        """Nobody waits for it any more: what has not begun is left out."""
        self.abandoned = True

    def tokens(self, pieces: int | None = None) -> int:
        """Estimated tokens of the next `pieces` that have not had their turn, of all where None."""
        return sum(self.costs[self.taken : None if pieces is None else self.taken + pieces])


@dataclass(frozen=True, slots=True)
class Turn(Generic[W, R]):
    """One piece of a job in a batch."""

    job: Job[W, R]
    place: int

    @property
    def work(self) -> W:
        """What is to be done."""
        return self.job.works[self.place]


class Batcher(Generic[W, R]):
    """A bounded queue and the one thread that works through it."""

    def __init__(
        self,
        run: Callable[[Sequence[W]], Sequence[R]],
        *,
        batch_tokens: int,
        queue_tokens: int,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            run: Does a batch of work and returns the results in order.
            batch_tokens: Estimated tokens of a batch; one piece that is larger is a batch of its own.
            queue_tokens: Estimated tokens that may wait.
            observe: Told the size of each batch and the seconds it took.
        """
        self._run = run
        self._batch_tokens = batch_tokens
        self._queue_tokens = queue_tokens
        self._observe = observe
        self._jobs: deque[Job[W, R]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._rate = 0.0
        self._running = (0.0, 0)
        self._thread = threading.Thread(target=self._work, name="odqa-batcher", daemon=True)
        self._thread.start()

    def submit(self, works: Sequence[W], costs: Sequence[int], *, seconds: float) -> Job[W, R]:
        """Queue a request that must be answered in so many `seconds`.

        Raises:
            QueueFullError: too much waits, or what waits before it will take longer than that.
            NotReadyError: the service is shutting down.
        """
        now = time.monotonic()
        job: Job[W, R] = Job(works, costs, now + seconds, now)
        with self._changed:
            if self._closing:
                raise NotReadyError("The service is shutting down.")
            self._admit(job, seconds)
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _admit(self, job: Job[W, R], seconds: float) -> None:
        self._prune()
        waiting = self._waiting_tokens()
        before = sum(other.tokens(len(job.works)) for other in self._jobs)
        wait = self._left() + self._seconds(before)
        late = wait > 0 and wait + self._seconds(job.tokens()) > _TRUST * seconds
        if late or (waiting > 0 and waiting + job.tokens() > self._queue_tokens):
            again = max(1, min(math.ceil(wait), _LONGEST_WAIT))
            raise QueueFullError("The service is busy. Try again later.", seconds=again)

    def _seconds(self, tokens: int) -> float:
        """How long so many tokens are expected to take; 0 as long as nothing was measured."""
        return tokens / self._rate if self._rate else 0.0

    def _left(self) -> float:
        """Seconds until the running batch is expected to end."""
        begin, tokens = self._running
        return max(0.0, begin + self._seconds(tokens) - time.monotonic()) if tokens else 0.0

    def close(self) -> None:
        """Finish what was accepted, take nothing more, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def depth(self) -> tuple[int, int]:
        """Pieces of work that wait, and their estimated tokens."""
        with self._changed:
            self._prune()
            return sum(len(job.works) - job.taken for job in self._jobs), self._waiting_tokens()

    def _prune(self) -> None:
        self._jobs = deque(job for job in self._jobs if not _is_over(job))

    def _waiting_tokens(self) -> int:
        return sum(job.tokens() for job in self._jobs)

    def _work(self) -> None:
        while (turns := self._next()) is not None:
            if not turns:
                continue
            begin, tokens = self._running
            outcomes = self._outcomes([turn.work for turn in turns])
            seconds = time.monotonic() - begin
            self._learn(tokens, seconds)
            if self._observe is not None:
                self._observe(len(turns), seconds)
            for turn, outcome in zip(turns, outcomes, strict=True):
                _settle(turn, outcome)

    def _next(self) -> list[Turn[W, R]] | None:
        """The next batch, empty where all that waited was over; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            return self._take() if self._jobs else None

    def _take(self) -> list[Turn[W, R]]:
        turns: list[Turn[W, R]] = []
        tokens, now = 0, time.monotonic()
        while self._jobs:
            job = self._jobs[0]
            if not _is_over(job):
                more = tokens + job.costs[job.taken]
                if turns and (more > self._batch_tokens or now + self._seconds(more) > turns[0].job.deadline):
                    break
                tokens = more
                turns.append(Turn(job, job.taken))
                job.waited = job.waited if job.taken else now - job.submitted
                job.taken += 1
            self._jobs.popleft()
            if not _is_over(job) and job.taken < len(job.works):
                self._jobs.append(job)
        self._running = (now, tokens)
        return turns

    def _outcomes(self, works: Sequence[W]) -> list[R | Exception]:
        """The results; where a batch fails each piece is tried alone, so that one can't take others down."""
        try:
            return list(self._run(works))
        except Exception as error:
            if len(works) == 1:
                return [error]
            return [self._outcomes([work])[0] for work in works]

    def _learn(self, tokens: int, seconds: float) -> None:
        self._running = (0.0, 0)
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else (1 - _SMOOTHING) * self._rate + _SMOOTHING * rate


def _is_over(job: Job[W, R]) -> bool:
    """Whether a job needs no more turns; one that is too late is told so."""
    if job.abandoned or job.future.done():
        return True
    if time.monotonic() < job.deadline:
        return False
    with suppress(InvalidStateError):  # the other thread was faster
        job.future.set_exception(DeadlineError("The answer did not come in time."))
    return True


def _settle(turn: Turn[W, R], outcome: R | Exception) -> None:
    job = turn.job
    with suppress(InvalidStateError):  # its deadline came first
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
            return
        job.results[turn.place] = outcome
        if len(job.results) == len(job.works):
            job.future.set_result([job.results[place] for place in range(len(job.works))])
