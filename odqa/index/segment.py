"""A segment: documents, their passages, vectors and terms, where row i is the same passage everywhere.

Files: `documents.arrow`, `passages.arrow`, `terms.arrow`, `postings.arrow` (Arrow IPC, one record batch each,
uncompressed, memory-mapped) and `vectors.faiss`. A segment is written once and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odqa.errors import IndexDamagedError
from odqa.index import files, vectors
from odqa.index.files import FileStamp
from odqa.index.generation import SegmentStamp
from odqa.index.terms import Analyzer, Postings
from odqa.index.vectors import Vectors
from odqa.types import Document, Passage, Section, section_at

_SECTION = pa.struct([("start", pa.int64()), ("page", pa.int32()), ("heading", pa.large_string())])
_DOCUMENTS = pa.schema(
    [
        ("id", pa.large_string()),
        ("title", pa.large_string()),
        ("text", pa.large_string()),
        ("metadata", pa.large_string()),
        ("sections", pa.large_list(_SECTION)),
    ]
)
_PASSAGES = pa.schema(
    [
        ("document", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("start_byte", pa.int64()),
        ("end_byte", pa.int64()),
        ("terms", pa.int32()),
    ]
)


@dataclass(slots=True)
class Draft:
    """The documents and passages that will become a segment."""

    documents: list[Document] = field(default_factory=list)
    passages: list[list[Passage]] = field(default_factory=list)
    characters: int = 0

    def add(self, document: Document, passages: list[Passage]) -> None:
        """Take a document and its passages."""
        self.documents.append(document)
        self.passages.append(passages)
        self.characters += len(document.text)

    @property
    def texts(self) -> list[str]:
        """The text of each passage, by row."""
        return [passage.text for passages in self.passages for passage in passages]


def write(folder: Path, draft: Draft, embedded: NDArray[np.float32], analyzer: Analyzer, factory: str) -> SegmentStamp:
    """Write a segment into a new folder; `embedded` is float32 (passages, dimensions) of any length."""
    postings = analyzer.postings(draft.texts)
    files.make_folder(folder)
    stamps = {
        "documents.arrow": _write_arrow(folder / "documents.arrow", _documents(draft.documents)),
        "passages.arrow": _write_arrow(folder / "passages.arrow", _passages(draft, postings.lengths)),
        "terms.arrow": _write_arrow(folder / "terms.arrow", _terms(postings)),
        "postings.arrow": _write_arrow(folder / "postings.arrow", _postings(postings)),
    }
    with files.create(folder / "vectors.faiss") as file:
        vectors.write(embedded, factory, file.write)
    stamps["vectors.faiss"] = file.stamp
    files.sync_folder(folder)
    return SegmentStamp(name=folder.name, documents=len(draft.documents), passages=len(postings.lengths), files=stamps)


def _write_arrow(path: Path, batch: pa.RecordBatch) -> FileStamp:
    with files.create(path) as file:
        with pa.PythonFile(file, mode="w") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return file.stamp


def _documents(documents: Sequence[Document]) -> pa.RecordBatch:
    rows = [
        {
            "id": document.id,
            "title": document.title,
            "text": document.text,
            "metadata": json.dumps(dict(document.metadata), ensure_ascii=False),
            "sections": [
                {"start": section.start, "page": section.page, "heading": section.heading}
                for section in document.sections
            ],
        }
        for document in documents
    ]
    return pa.RecordBatch.from_pylist(rows, schema=_DOCUMENTS)


def _passages(draft: Draft, lengths: NDArray[np.int32]) -> pa.RecordBatch:
    rows = [
        (number, passage.start, passage.end, *places)
        for number, (document, passages) in enumerate(zip(draft.documents, draft.passages, strict=True))
        for passage, places in zip(passages, _bytes(document.text, passages), strict=True)
    ]
    columns = [*np.array(rows, dtype=np.int64).reshape(-1, 5).T, lengths]
    return pa.RecordBatch.from_arrays([pa.array(np.ascontiguousarray(column)) for column in columns], schema=_PASSAGES)


def _bytes(text: str, passages: Sequence[Passage]) -> Iterator[tuple[int, int]]:
    """Where passages, by rising start, stand in their document's UTF-8 form."""
    at = start = 0
    for passage in passages:
        start += len(text[at : passage.start].encode())
        at = passage.start
        yield start, start + len(passage.text.encode())


def _terms(postings: Postings) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([postings.terms, pa.array(postings.starts[1:])], names=["term", "end"])


def _postings(postings: Postings) -> pa.RecordBatch:
    arrays = [pa.array(postings.passages), pa.array(postings.counts)]
    return pa.RecordBatch.from_arrays(arrays, names=["passage", "count"])


class Segment:
    """An opened segment, memory-mapped."""

    def __init__(self, folder: Path, stamp: SegmentStamp) -> None:
        """Open the files that `stamp` names, checking that each is there with its size.

        Raises:
            IndexDamagedError: a file is missing, has another size, or can't be read.
        """
        for name, written in stamp.files.items():
            check_size(folder / name, written)
        self.stamp = stamp
        self._documents = _read_arrow(folder / "documents.arrow")
        self._passages = _read_arrow(folder / "passages.arrow")
        self.vectors = Vectors(folder / "vectors.faiss")
        terms, postings = _read_arrow(folder / "terms.arrow"), _read_arrow(folder / "postings.arrow")
        self.postings = Postings(
            terms["term"],
            np.concatenate([[0], terms["end"].to_numpy()]),
            postings["passage"].to_numpy(),
            postings["count"].to_numpy(),
            self._passages["terms"].to_numpy(),
        )

    def __len__(self) -> int:
        """Number of passages."""
        return self.stamp.passages

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

    def _sections(self, number: int) -> tuple[Section, ...]:
        return tuple(Section(**section) for section in self._documents["sections"][number].as_py())

    def documents(self) -> list[Document]:
        """All documents, by row."""
        return [
            Document(row["id"], row["text"], row["title"], json.loads(row["metadata"]), self._sections(number))
            for number, row in enumerate(self._documents.to_pylist())
        ]


def check_size(path: Path, stamp: FileStamp) -> None:
    """Raise an IndexDamagedError where the file is missing or has another size than the one written."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise IndexDamagedError(f"{path} is missing. Rebuild the index.") from None
    if size != stamp.size:
        raise IndexDamagedError(f"{path} has {size} bytes, not the {stamp.size} that were written. Rebuild the index.")


def _read_arrow(path: Path) -> pa.RecordBatch:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise IndexDamagedError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
