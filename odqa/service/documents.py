"""Documents added and removed while others ask: changes that wait together become one generation of the index."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from odqa.embedder import Embedder
from odqa.errors import IndexLockedError, OdqaError
from odqa.index import Index
from odqa.service import journal
from odqa.service.batcher import Batcher, Job
from odqa.service.host import Host
from odqa.types import Document

POLL_SECONDS = 2.0
_COMMIT_CHARACTERS = 20_000
_GROUP_CHARACTERS = 8_000_000
_WAITING_CHARACTERS = 256_000_000
_LOCK_SECONDS = 10.0
_PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Put:
    """Documents to add; one whose id is there replaces the one that was."""

    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """A document to remove."""

    id: str


@dataclass(frozen=True, slots=True)
class Done:
    """A change that is on the disk and in sight; `found` documents of these ids were there before."""

    generation: int
    found: int


Change = Put | Delete


class Writer:
    """The one thread of the service that writes, and the one that looks for what other processes wrote."""

    def __init__(self, host: Host) -> None:
        """Write the index of `host`, with an embedder that is loaded for the first documents."""
        self._host = host
        self._embedder: Embedder | None = None
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="odqa-watcher", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._batcher: Batcher[Change, Done] = Batcher(
            self._commit, batch_tokens=_GROUP_CHARACTERS, queue_tokens=_WAITING_CHARACTERS
        )
        self._watcher.start()

    async def change(self, change: Change) -> Done:
        """Make a change; when this returns it is on the disk and the next search sees it.

        Raises:
            NotReadyError: models and index are still being loaded, or the service is shutting down.
            QueueFullError: too much waits to be written.
            StoredIndexError: the index can't be written.
        """
        _ = self._host.loaded
        job: Job[Change, Done] = self._batcher.submit([change], [_characters(change)], seconds=_PATIENCE)
        return (await asyncio.shield(asyncio.wrap_future(job.future)))[0]

    def close(self) -> None:
        """Write what was accepted, then stop."""
        self._ended.set()
        self._batcher.close()
        self._watcher.join()

    def _commit(self, changes: Sequence[Change]) -> list[Done]:
        """Make changes in their order: of several to one document the last counts."""
        self._host.refresh()
        live: dict[str, bool] = {}
        found, last = [], dict[str, Document | None]()
        for change in changes:
            new = _wanted(change)
            found.append(sum(live[id] if id in live else self._holds(id) for id in new))
            live.update({id: document is not None for id, document in new.items()})
            last.update(new)
        self._write([one for one in last.values() if one is not None], [id for id, one in last.items() if one is None])
        generation = self._host.index.generation.number
        return [Done(generation, count) for count in found]

    def _holds(self, id: str) -> bool:
        return self._host.index.has(id)

    def _write(self, added: list[Document], removed: list[str]) -> None:
        name = self._host.index.name
        if added:
            if self._embedder is None:
                self._embedder = self._host.loaded.load_embedder()
            _patiently(lambda: Index.add(name, added, embedder=self._embedder))
        if removed:
            _patiently(lambda: Index.remove(name, ids=removed))
        self._host.refresh()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                if self._host.ready:
                    self._host.refresh()
            except OdqaError as error:
                journal.event("not reloaded", level=logging.ERROR, error=error)


def _wanted(change: Change) -> dict[str, Document | None]:
    """What is to stand under which id; None where nothing is."""
    if isinstance(change, Delete):
        return {change.id: None}
    return {document.id: document for document in change.documents}


def _characters(change: Change) -> int:
    """What a change costs: its text, and what every change costs, in characters that are embedded meanwhile."""
    if isinstance(change, Delete):
        return _COMMIT_CHARACTERS
    headings = (section.heading or "" for document in change.documents for section in document.sections)
    return _COMMIT_CHARACTERS + sum(len(document.text) for document in change.documents) + sum(map(len, headings))


def _patiently(write: Callable[[], object]) -> None:
    """Write, waiting a while for another process that is writing."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            write()
            return
        except IndexLockedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
