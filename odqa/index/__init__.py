"""The index: immutable segments under numbered generations, searched by vectors and by terms."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from odqa.corpus.passages import Splitter
from odqa.embedder import Embedder
from odqa.errors import IndexDamagedError
from odqa.index import build as building
from odqa.index import change, export, store, vectors
from odqa.index.build import BuildReport
from odqa.index.change import ChangeReport
from odqa.index.generation import Generation, current
from odqa.index.merged import MergedVectors
from odqa.index.segment import Segment
from odqa.index.terms import Bm25, Search, with_ties
from odqa.index.vectors import Codec
from odqa.recipes import Card
from odqa.types import Document, Passage

__all__ = ["BuildReport", "ChangeReport", "Index"]

_TIE = 1e-6
_Found = tuple[NDArray[np.float32], NDArray[np.int64]]
_CACHED_FILTERS = 32


class Index:
    """One generation of an index, opened.

    A row numbers a passage over all segments. Rows of removed passages are never given.
    """

    def __init__(self, folder: Path) -> None:
        """Open the current generation in `folder`, checking its checksum and every file's size.

        Raises:
            IndexNotFoundError: nothing was finished there.
            IndexDamagedError: a file is missing or not the one that was written.
        """
        self.name = folder.name
        self.generation, self._segments, self._codec = _opened(folder)
        self._folder = folder
        self._ends = list(accumulate(len(segment) for segment in self._segments))
        self._terms = Bm25([segment.postings for segment in self._segments], self.generation.card.terms)
        self._merged: MergedVectors | None = None
        self._filtered = lru_cache(_CACHED_FILTERS)(partial(_rows_where, self._segments))

    @classmethod
    def open(cls, name: str) -> Self:
        """Open an index of the home by its name.

        Raises:
            IndexNotFoundError: there is none; the known ones are named.
            IndexDamagedError: a file is missing or not the one that was written.
        """
        return cls(store.existing(name))

    @classmethod
    def build(
        cls,
        name: str,
        documents: Iterable[Document],
        *,
        card: Card | None = None,
        embedder: Embedder | None = None,
        replace: bool = False,
    ) -> BuildReport:
        """Build an index in the home. It can be opened once all of it is on the disk, not before.

        A build that was killed goes on after its last finished segment when it is run again; one that fails before
        its first is finished leaves nothing behind.

        Args:
            name: The index's name.
            documents: Taken one by one; those without text are skipped and counted.
            card: How to cut, count and embed; the defaults where None.
            embedder: The card's embedder where it is loaded already.
            replace: Build anew where there is one of that name; it stays in use until the end.

        Raises:
            ConfigError: the name is taken, or the card asks for what can't be.
            CorpusError: an id stands twice, or no document holds any text.
            StoredIndexError: the disk is full, or the folder can't be written.
        """
        card = Card() if card is None else card
        folder = store.folder_of(name)
        store.check_free(folder, replace=replace)
        embedder = Embedder(card.embedder) if embedder is None else embedder
        splitter = _splitter(card, embedder)
        with store.building(folder, replace=replace) as number:
            return building.build(folder, documents, card=card, embedder=embedder, splitter=splitter, number=number)

    @classmethod
    def add(cls, name: str, documents: Iterable[Document], *, embedder: Embedder | None = None) -> ChangeReport:
        """Add documents to an index; one whose id is there replaces the one that was.

        Raises:
            IndexNotFoundError: there is none of that name.
            CorpusError: an id stands twice, or no document holds any text.
            IndexMismatchError: another embedder made the vectors.
            StoredIndexError: the disk is full, or the folder can't be written.
        """
        folder = store.existing(name)
        with store.locked(folder):
            newest = current(folder)
            embedder = Embedder(newest.embedder.name) if embedder is None else embedder
            return change.add(folder, documents, embedder=embedder, splitter=_splitter(newest.card, embedder))

    @classmethod
    def remove(cls, name: str, *, ids: Sequence[str] = (), where: str | None = None) -> ChangeReport:
        """Remove the documents that have one of `ids` or meet the filter `where`.

        Raises:
            IndexNotFoundError: there is none of that name.
            ConfigError: the filter is wrong.
            StoredIndexError: the disk is full, or the folder can't be written.
        """
        folder = store.existing(name)
        with store.locked(folder):
            return change.remove(folder, ids=ids, condition=where)

    @classmethod
    def compact(cls, name: str) -> ChangeReport:
        """Merge small segments, and write those anew that hold removed documents.

        Raises:
            IndexNotFoundError: there is none of that name.
            StoredIndexError: the disk is full, or the folder can't be written.
        """
        folder = store.existing(name)
        with store.locked(folder):
            return change.compact(folder)

    def export(self, folder: Path) -> None:
        """Write `documents.parquet` and `passages.parquet`, with the vectors, into a new folder.

        Raises:
            ConfigError: the folder holds something already.
        """
        export.write(self._segments, folder)

    def refreshed(self) -> Self:
        """This index while its generation is current, else the current one, opened.

        Raises:
            IndexNotFoundError: the index was deleted.
            IndexDamagedError: the current one is damaged.
        """
        return self if current(self._folder) == self.generation else type(self)(self._folder)

    def merge(self, *, gpu: bool, half: bool = False) -> None:
        """Search all vectors at once from now on, on a GPU or the CPU; results are the same (see `merged`).

        Args:
            gpu: Search on the first GPU. Filtered searches stay on the CPU.
            half: Keep the vectors in half precision there; scores are computed from the full ones all the same.

        Raises:
            ConfigError: there is no GPU that faiss can use, or the index is of a kind that can't go there.
        """
        vectors.check_merged(self.generation.card.factory, gpu=gpu)
        parts = [one.vectors for one in self._segments]
        self._merged = MergedVectors(self._codec, parts, gpu=gpu, half=half) if parts else None

    def __len__(self) -> int:
        """Number of live passages."""
        return self.generation.passages

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise an IndexMismatchError where another embedder made the vectors."""
        change.check_embedder(self.name, self.generation, embedder)

    def passage(self, row: int) -> Passage:
        """The passage at `row`."""
        number = bisect_right(self._ends, row)
        return self._segments[number].passage(row - self._begin(number))

    def passages(self) -> Iterator[Passage]:
        """All live passages, by row."""
        return (self.passage(int(row)) for row in np.flatnonzero(self.rows()))

    def documents(self) -> Iterator[Document]:
        """All live documents."""
        return (document for segment in self._segments for document in segment.documents())

    def has(self, id: str) -> bool:
        """Whether a live document has that id."""
        return any(segment.with_ids([id]).any() for segment in self._segments)

    def rows(self, where: str | None = None) -> NDArray[np.bool_]:
        """Which rows are live and belong to a document that meets the filter, bool (rows,).

        Raises:
            ConfigError: the filter is wrong.
        """
        return self._filtered(where)

    def nearest(self, queries: NDArray[np.float32], k: int, *, where: str | None = None) -> list[NDArray[np.int64]]:
        """For each query, float32 (queries, dimensions), the rows of its `k` nearest passages and of all ties.

        Raises:
            ConfigError: the filter is wrong.
        """
        allowed = None if where is None else self.rows(where)
        together = self._together(queries, k) if allowed is None else None
        if together is not None:
            return [self._best(query, [rows], k) for query, rows in zip(queries, together, strict=True)]

        def near(number: int) -> list[NDArray[np.int64]]:
            begin, segment = self._begin(number), self._segments[number]
            mask = segment.live if allowed is None else allowed[begin : self._ends[number]]
            return [rows + begin for rows in self._near(segment, queries, k, mask)]

        found = list(_threads().map(near, range(len(self._segments))))
        return [self._best(query, [rows[at] for rows in found], k) for at, query in enumerate(queries)]

    @property
    def _effort(self) -> int:
        return self.generation.tuning.value if self.generation.tuning else 0

    def _together(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]] | None:
        """The nearest rows of all segments at once, where they are merged and can be had that way."""
        if self._merged is None:
            return None
        live = None if len(self) == self._ends[-1] else self.rows()

        def search(depth: int) -> _Found | None:
            return self._merged.nearest(queries, depth, live=live, effort=self._effort) if self._merged else None

        return _with_all_ties(search, k, len(self))

    def _near(
        self, segment: Segment, queries: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None
    ) -> list[NDArray[np.int64]]:
        """The `k` nearest of one segment and all that equal the last of them."""
        most = len(segment) if mask is None else int(mask.sum())

        def search(depth: int) -> _Found:
            return segment.vectors.nearest(queries, depth, allowed=mask, effort=self._effort)

        found = _with_all_ties(search, k, most) if most else None
        return [np.empty(0, np.int64) for _ in queries] if found is None else found

    def _best(self, query: NDArray[np.float32], rows: list[NDArray[np.int64]], k: int) -> NDArray[np.int64]:
        """Of the nearest rows of each segment those nearest over all."""
        everywhere = np.concatenate(rows) if rows else np.empty(0, np.int64)
        scores = self._scores(everywhere, lambda segment, mine: segment.vectors.scores(query, mine))
        return everywhere[with_ties(scores, k)]

    def exact(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """The `k` nearest rows by their stored vectors, every one of them looked at: what an approximation misses."""
        found: list[list[NDArray[np.int64]]] = [[] for _ in queries]
        for number, segment in enumerate(self._segments):
            live = np.arange(len(segment)) if segment.live is None else np.flatnonzero(segment.live)
            _, near = segment.vectors.among(queries, min(k, len(live)), live)
            for rows, one in zip(found, near, strict=True):
                rows.append(one + self._begin(number))
        return [self._best(query, rows, k) for query, rows in zip(queries, found, strict=True)]

    def vector(self, row: int) -> NDArray[np.float32]:
        """The vector at `row` as it is stored, float32 (dimensions,)."""
        number = bisect_right(self._ends, row)
        rows = np.array([row - self._begin(number)])
        return np.asarray(self._segments[number].vectors.rows(rows)[0])

    def dense_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of one query, float32 (dimensions,), and the best sentence of each passage at `rows`.

        It is that of the passage's own vector where the card stores no sentences.
        """
        return self._scores(rows, lambda segment, mine: segment.dense_scores(query, mine))

    def _scores(
        self, rows: NDArray[np.int64], score: Callable[[Segment, NDArray[np.int64]], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Scores of rows, each by the segment that holds it."""
        scores = np.empty(len(rows))
        owners = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owners):
            mine = owners == number
            scores[mine] = score(self._segments[number], rows[mine] - self._begin(number))
        return scores

    def sparse(self, question: str) -> Search:
        """A question's terms looked up: scores of rows, and the rows of the largest scores."""
        return self._terms.search(question)

    def _begin(self, number: int) -> int:
        return self._ends[number - 1] if number else 0


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that search segments side by side: FAISS uses one for one query."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="odqa-search")


def _with_all_ties(search: Callable[[int], _Found | None], k: int, most: int) -> list[NDArray[np.int64]] | None:
    """Rows of the `k` nearest and of all that equal the last of them; `most` there are."""
    depth = k
    while True:
        depth = min(depth + 1, most)
        answer = search(depth)
        if answer is None:
            return None
        scores, rows = answer
        if depth == most or not (scores[:, -1] >= scores[:, k - 1] - _TIE).any():
            return [found[found >= 0] for found in rows]
        depth *= 4


def _rows_where(segments: Sequence[Segment], where: str | None) -> NDArray[np.bool_]:
    if where is not None:
        pairs = zip(segments, change.matching(segments, where), strict=True)
        parts = [mask[segment.owners] for segment, mask in pairs]
    else:
        parts = [np.ones(len(one), dtype=np.bool_) if one.live is None else one.live for one in segments]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.bool_)


def _splitter(card: Card, embedder: Embedder) -> Splitter:
    tokens = building.passage_tokens(card.passages, embedder.max_tokens)
    return Splitter(embedder.tokenizer, max_tokens=tokens, overlap=card.passages.overlap)


def _opened(folder: Path) -> tuple[Generation, list[Segment], Codec]:
    """The current generation with its files; again where a writer went on meanwhile and cleared them away."""
    while True:
        generation = current(folder)
        try:
            return generation, change.opened(folder, generation), change.codec_of(folder, generation)
        except IndexDamagedError:
            if current(folder) == generation:
                raise
