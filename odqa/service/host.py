"""The host: the one owner of models and index, and of the queue before them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np

from odqa.embedder import Embedder
from odqa.errors import OdqaError
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.service import journal
from odqa.service.batcher import Batcher, Job
from odqa.service.failures import DeadlineError, NotReadyError
from odqa.service.metrics import Metrics
from odqa.service.settings import Settings
from odqa.service.work import Ask, Options, Outcome, Work, cost, do

_LEAST_TOKENS = 4_096
_SAMPLE = 64
_WARM_UP = "What is this about?"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline, and how to load another embedder for the thread that writes.

    Tokenizers are not made for two threads at a time, so that each thread has an embedder of its own.
    """

    pipeline: Pipeline
    load_embedder: Callable[[], Embedder]

    @classmethod
    def load(cls, name: str, *, index: str | None = None, device: str | None = None) -> Self:
        """Load a recipe as `Pipeline.load` does, and raise as it does."""
        pipeline = Pipeline.load(name, index=index, device=device)
        return cls(pipeline, partial(Embedder, pipeline.retriever.index.generation.embedder.name, device=device))


class Host:
    """Loads in the background, then answers."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        settings: Settings,
        metrics: Metrics,
        *,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """Take a loader over; nothing is loaded before `start`. `on_failure` is told why, where loading fails."""
        self._on_failure = on_failure
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._loaded: Loaded | None = None
        self._passage_length = 0.0
        self._refreshing = threading.Lock()
        self._batcher: Batcher[Work, Outcome] | None = None
        self._thread = threading.Thread(target=self._warm, name="odqa-loader", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def _warm(self) -> None:
        try:
            loaded = self._load()
            do(loaded.pipeline, [Ask(_WARM_UP, Options())])
        except Exception as error:
            known = isinstance(error, OdqaError)
            journal.event("failed", level=logging.ERROR, error=None if known else error, reason=str(error))
            if self._on_failure is not None:
                self._on_failure(error)
            return
        self._passage_length = _passage_length(loaded.pipeline.retriever.index)
        self._batcher = Batcher(
            self._do,
            batch_tokens=self._batch_tokens(loaded.pipeline.reader),
            queue_tokens=self._settings.queue_tokens,
            observe=self._metrics.batch,
        )
        self._loaded = loaded
        self._measure()
        index = self.index
        journal.event("ready", index=index.name, generation=index.generation.number, passages=len(index))

    def _batch_tokens(self, reader: Reader) -> int:
        if self._settings.batch_tokens is not None:
            return self._settings.batch_tokens
        return max(_LEAST_TOKENS, reader.batch_tokens)

    def _measure(self) -> None:
        measures: dict[str, tuple[str, Callable[[], float]]] = {
            "odqa_queue_questions": ("Questions that wait.", lambda: self.depth()[0]),
            "odqa_queue_tokens": ("Estimated tokens that wait.", lambda: self.depth()[1]),
            "odqa_index_generation": ("Generation of the index.", lambda: self.index.generation.number),
            "odqa_index_documents": ("Documents of the index.", lambda: self.index.generation.documents),
            "odqa_index_passages": ("Passages of the index.", lambda: self.index.generation.passages),
        }
        for name, (description, value) in measures.items():
            self._metrics.gauge(name, description, value)

    @property
    def ready(self) -> bool:
        """Whether the index is opened and the models are warm."""
        return self._loaded is not None

    @property
    def loaded(self) -> Loaded:
        """The models over the current generation.

        Raises:
            NotReadyError: they are still being loaded.
        """
        if self._loaded is None:
            raise NotReadyError("Models and index are still being loaded. Try again in a moment.")
        return self._loaded

    @property
    def index(self) -> Index:
        """The current generation of the index."""
        return self.loaded.pipeline.retriever.index

    def refresh(self) -> None:
        """Go over to the newest generation of the index; what is being answered stays with the one it began with.

        Raises:
            StoredIndexError: it is damaged.
        """
        with self._refreshing:
            index = self.index.refreshed()
            if index is not self.index:
                self._loaded = replace(self.loaded, pipeline=self.loaded.pipeline.over(index))
                journal.event("reloaded", generation=index.generation.number, passages=len(index))

    def depth(self) -> tuple[int, int]:
        """Questions that wait, and their estimated tokens."""
        return (0, 0) if self._batcher is None else self._batcher.depth()

    async def answer(
        self, works: Sequence[Work], *, timeout: float | None, gone: Callable[[], asyncio.Task[None]]
    ) -> tuple[list[Outcome], float]:
        """The outcomes, and the seconds waited before the first turn; given up when the task of `gone` ends.

        Raises:
            NotReadyError: models and index are still being loaded, or the service is shutting down.
            QueueFullError: too much waits.
            DeadlineError: the answers did not come in time.
            GoneError: the client went away.
        """
        reader, batcher = self.loaded.pipeline.reader, self._batcher
        if batcher is None:
            raise NotReadyError("The service is shutting down.")
        seconds = min(self._settings.deadline, self._settings.deadline if timeout is None else timeout)
        for question in dict.fromkeys(work.question for work in works):
            reader.check_question(question)
        job = batcher.submit(works, [self._cost(work) for work in works], seconds=seconds)
        return await _first(job, gone(), seconds), job.waited

    def _cost(self, work: Work) -> int:
        top_k = self.loaded.pipeline.retriever.recipe.top_k
        return cost(work, passage_length=self._passage_length, top_k=top_k)

    def _do(self, works: Sequence[Work]) -> list[Outcome]:
        return do(self.loaded.pipeline, works)

    def close(self) -> None:
        """Answer what was accepted, then stop; models in loading are loaded first, since nothing can break that off."""
        self._thread.join()
        if self._batcher is not None:
            self._batcher.close()


async def _first(job: Job[Work, Outcome], gone: asyncio.Task[None], seconds: float) -> list[Outcome]:
    """The job's results, unless the client goes or the deadline comes first."""
    results: asyncio.Future[list[Outcome]] = asyncio.wrap_future(job.future)
    results.add_done_callback(lambda future: future.cancelled() or future.exception())
    try:
        either: list[asyncio.Future[Any]] = [results, gone]
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            return results.result()
        if gone.done():
            gone.result()
        raise DeadlineError("The answer did not come in time.")
    finally:
        job.abandon()
        gone.cancel()


def _passage_length(index: Index) -> float:
    """Characters of a passage, estimated from some."""
    rows = np.flatnonzero(index.rows())
    chosen = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows)), dtype=np.int64)]
    return float(np.mean([len(index.passage(int(row)).text) for row in chosen])) if len(chosen) else 0.0
