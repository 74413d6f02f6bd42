"""The index: immutable segments under numbered generations, searched by vectors and by terms."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from odqa.corpus.passages import Splitter
from odqa.embedder import Embedder
from odqa.errors import IndexMismatchError
from odqa.index import files, store
from odqa.index.build import BuildReport, build, passage_tokens
from odqa.index.generation import Generation, current
from odqa.index.segment import Segment
from odqa.index.terms import Bm25
from odqa.recipes import Card
from odqa.types import Document, Passage

__all__ = ["BuildReport", "Index"]


class Index:
    """One generation of an index, opened. Rows number the live passages over all segments."""

    def __init__(self, folder: Path) -> None:
        """Open the current generation in `folder`, checking its checksum and every file's size.

        Raises:
            IndexNotFoundError: nothing was finished there.
            IndexDamagedError: a file is missing or not the one that was written.
        """
        self.name = folder.name
        self.generation: Generation = current(folder)
        self._segments = [Segment(folder / "segments" / stamp.name, stamp) for stamp in self.generation.segments]
        self._ends = list(accumulate(len(segment) for segment in self._segments))
        self._terms = Bm25([segment.postings for segment in self._segments], self.generation.card.terms)

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
        number = store.check_free(folder, replace=replace)
        embedder = Embedder(card.embedder) if embedder is None else embedder
        splitter = Splitter(
            embedder.tokenizer,
            max_tokens=passage_tokens(card.passages, embedder.max_tokens),
            overlap=card.passages.overlap,
        )
        with files.writing(name, folder):
            files.make_folder(folder)
        with files.writing(name, folder), store.locked(folder):
            return build(folder, documents, card=card, embedder=embedder, splitter=splitter, number=number)

    def __len__(self) -> int:
        """Number of live passages."""
        return self._ends[-1] if self._ends else 0

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise an IndexMismatchError where another embedder made the vectors."""
        built = self.generation.embedder
        if built.fingerprint != embedder.fingerprint:
            raise IndexMismatchError(
                f'Index "{self.name}" was built with "{built.name}" ({built.dimension} dimensions) but is asked '
                f'with "{embedder.name}" ({embedder.dimension}). Rebuild it: odqa index build {self.name} --replace'
            )

    def passage(self, row: int) -> Passage:
        """The passage at `row`."""
        number = bisect_right(self._ends, row)
        return self._segments[number].passage(row - self._begin(number))

    def passages(self) -> Iterator[Passage]:
        """All live passages, by row."""
        return (self.passage(row) for row in range(len(self)))

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """For each query, float32 (queries, dimensions), at least the rows of its `k` nearest passages."""
        found: list[list[NDArray[np.int64]]] = [[] for _ in queries]
        for number, segment in enumerate(self._segments):
            for rows, near in zip(found, segment.vectors.nearest(queries, k), strict=True):
                rows.append(near + self._begin(number))
        return [np.concatenate(rows) for rows in found]

    def dense_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of one query, float32 (dimensions,), and the passages at `rows`."""
        scores = np.empty(len(rows))
        owners = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owners):
            mine = owners == number
            scores[mine] = self._segments[number].vectors.scores(query, rows[mine] - self._begin(number))
        return scores

    def sparse_scores(self, question: str) -> NDArray[np.float64]:
        """BM25 of every passage over what the question could reach at most, float64 (passages,), in [0, 1)."""
        scores, reach = self._terms.scores(question)
        return scores / reach if reach else scores

    def _begin(self, number: int) -> int:
        return self._ends[number - 1] if number else 0
