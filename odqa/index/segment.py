"""A segment: documents, their passages, vectors and terms, where row i is the same passage everywhere.

Files: `documents.arrow`, `passages.arrow`, `terms.arrow`, `postings.arrow` and, where the card asks for it,
`sentences.arrow` (Arrow IPC, one record batch each, uncompressed, memory-mapped); `vectors.faiss`. A segment is written
once and never changed; what is removed from it stands in a tombstone file beside it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from odqa.errors import IndexDamagedError
from odqa.index import files
from odqa.index.draft import SENTENCES
from odqa.index.files import FileStamp
from odqa.index.generation import SegmentStamp, Tombstones
from odqa.index.terms import Postings
from odqa.index.vectors import Vectors, unit
from odqa.types import Document, Passage, Scalar, Section, section_at


class Segment:
    """An opened segment, memory-mapped.

    Attributes:
        stamp: What the generation says of it.
        live_documents: bool (documents,), those not removed; None where all are live.
        live: bool (passages,), likewise.
        postings: Its terms.
        vectors: Its vectors.
    """

    def __init__(self, root: Path, stamp: SegmentStamp) -> None:
        """Open the files that `stamp` names, checking that each is there with its size.

        Raises:
            IndexDamagedError: a file is missing, has another size, or can't be read.
        """
        for name, written in stamp.all_files():
            check_size(root / name, written)
        folder = root / "segments" / stamp.name
        self.stamp = stamp
        self._documents = _read_arrow(folder / "documents.arrow")
        self._passages = _read_arrow(folder / "passages.arrow")
        self.live_documents = _live_documents(root, stamp)
        self.live = None if self.live_documents is None else self.live_documents[self.owners]
        self.vectors = Vectors(folder / "vectors.faiss")
        self._sentences = _read_arrow(folder / SENTENCES)["vectors"] if SENTENCES in stamp.files else None
        terms, postings = _read_arrow(folder / "terms.arrow"), _read_arrow(folder / "postings.arrow")
        self.postings = Postings(
            terms["term"],
            np.concatenate([[0], _array(terms["end"])]),
            _array(postings["passage"]),
            _array(postings["count"]),
            _array(self._passages["terms"]),
            self.live,
        )

    def __len__(self) -> int:
        """Number of passages, the removed included."""
        return self.stamp.passages

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The document of each passage, int64 (passages,)."""
        return _array(self._passages["document"])

    def passage(self, row: int) -> Passage:
        """The passage at `row`, its text cut from the document's bytes."""
        start, end, first, last = (
            self._passages[name][row].as_py() for name in ("start", "end", "start_byte", "end_byte")
        )
        number = self._passages["document"][row].as_py()
        text = self._documents["text"][number].as_buffer()[first:last].to_pybytes().decode()
        sections = self._sections(number)
        kept = tuple(section for section in sections if start < section.start < end)
        return Passage(
            document_id=self._documents["id"][number].as_py(),
            text=text,
            start=start,
            title=self._documents["title"][number].as_py(),
            metadata=json.loads(self._documents["metadata"][number].as_py()),
            sections=(section_at(sections, start), *kept) if sections else (),
        )

    def document(self, number: int) -> Document:
        """The document of that number in the segment."""
        given = {name: self._documents[name][number].as_py() for name in ("id", "text", "title", "metadata")}
        return Document(**given | {"metadata": json.loads(given["metadata"])}, sections=self._sections(number))

    def live_numbers(self) -> NDArray[np.int64]:
        """Numbers of the documents that are not removed."""
        everything = np.arange(self.stamp.documents)
        return everything if self.live_documents is None else everything[self.live_documents]

    def documents(self) -> Iterator[Document]:
        """The live documents, by number."""
        return (self.document(int(number)) for number in self.live_numbers())

    def rows_of(self, number: int) -> range:
        """The rows of a document's passages."""
        first, last = np.searchsorted(self.owners, [number, number + 1])
        return range(int(first), int(last))

    def with_ids(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which documents are live and have one of `ids`, bool (documents,)."""
        wanted = pa.array(ids, pa.large_string())
        found = np.asarray(pc.is_in(self._documents["id"], value_set=wanted).to_numpy(zero_copy_only=False))
        return found if self.live_documents is None else found & self.live_documents

    def rows_with(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """For each hash of a passage's text that is here, one row that has it."""
        wanted = pa.array(hashes, pa.binary(16))
        places = pc.index_in(self._passages["hash"], value_set=wanted)
        rows = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
        return {hashes[places[int(row)].as_py()]: int(row) for row in rows}

    def sentences(self, rows: NDArray[np.int64]) -> list[NDArray[np.float16]]:
        """The vectors of the sentences of the passages at `rows`, float16 (sentences, dimensions) each."""
        flat, ends = self._sentence_arrays
        return [flat[ends[row] : ends[row + 1]] for row in rows]

    def dense_scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of one query, float32 (dimensions,), and the best sentence of each passage at `rows`.

        It is that of the passage's own vector where no sentences are stored.
        """
        if self._sentences is None or not len(rows):
            return self.vectors.scores(query, rows)
        found = self.sentences(rows)
        stored = np.concatenate(found).astype(np.float64)
        cosines = (stored * unit(query[None])[0].astype(np.float64)).sum(axis=1)
        begins = np.cumsum([0, *(len(one) for one in found[:-1])])
        return np.asarray(np.maximum.reduceat(cosines, begins))

    @cached_property
    def _sentence_arrays(self) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """All vectors, float16 (sentences, dimensions), and where each passage's begin, int64 (passages + 1,)."""
        if self._sentences is None:
            raise IndexDamagedError(f"Segment {self.stamp.name} has no vectors of sentences. Rebuild the index.")
        vectors = self._sentences.values
        return _array(vectors.values).reshape(-1, vectors.type.list_size), _array(self._sentences.offsets)

    def column(self, name: str) -> list[Scalar]:
        """A value for each document: its id, its title or a key of its metadata; None where it has none."""
        if name in ("id", "title"):
            found: list[Scalar] = self._documents[name].to_pylist()
            return found
        return [metadata.get(name) for metadata in self.metadata]

    @cached_property
    def metadata(self) -> list[dict[str, Scalar]]:
        """The metadata of each document."""
        return [json.loads(text) for text in self._documents["metadata"].to_pylist()]

    def _sections(self, number: int) -> tuple[Section, ...]:
        return tuple(Section(**section) for section in self._documents["sections"][number].as_py())


def bury(root: Path, name: str, segment: Segment, dead: NDArray[np.bool_]) -> SegmentStamp:
    """Write the tombstone file `name` for all documents of a segment that are `dead` now or were before."""
    gone = dead if segment.live_documents is None else dead | ~segment.live_documents
    data = io.BytesIO()
    np.save(data, np.flatnonzero(gone))
    files.make_folder((root / name).parent)
    with files.create(root / name) as file:
        file.write(data.getvalue())
    files.sync_folder((root / name).parent)
    passages = int(gone[segment.owners].sum())
    tombstones = Tombstones(name=name, stamp=file.stamp, documents=int(gone.sum()), passages=passages)
    return segment.stamp.model_copy(update={"tombstones": tombstones})


def _live_documents(root: Path, stamp: SegmentStamp) -> NDArray[np.bool_] | None:
    if stamp.tombstones is None:
        return None
    try:
        data = (root / stamp.tombstones.name).read_bytes()
    except OSError as error:
        raise IndexDamagedError(
            f"{root / stamp.tombstones.name} can't be read: {error.strerror}. Rebuild the index."
        ) from None
    if sha256(data).hexdigest() != stamp.tombstones.stamp.sha256:
        raise IndexDamagedError(f"{root / stamp.tombstones.name} is damaged. Rebuild the index.")
    live = np.ones(stamp.documents, dtype=np.bool_)
    live[np.load(io.BytesIO(data), allow_pickle=False)] = False
    return live


def _array(column: pa.Array) -> NDArray[Any]:
    """A column without nulls as an array over the same memory; `to_numpy` would import pandas first."""
    return np.from_dlpack(column)


def check_size(path: Path, stamp: FileStamp) -> None:
    """Raise an IndexDamagedError where the file is missing or has another size than the one written."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise IndexDamagedError(f"{path} can't be read: {error.strerror}. Rebuild the index.") from None
    if size != stamp.size:
        raise IndexDamagedError(f"{path} has {size} bytes, not the {stamp.size} that were written. Rebuild the index.")


def _read_arrow(path: Path) -> pa.RecordBatch:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise IndexDamagedError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
