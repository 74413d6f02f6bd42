"""Documents and passages that become a segment, and how its Arrow files are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odqa.index import files
from odqa.index.files import FileStamp
from odqa.index.generation import SegmentStamp
from odqa.index.terms import Analyzer, Postings, searched_text
from odqa.types import Document, Passage

SENTENCES = "sentences.arrow"

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
        ("hash", pa.binary(16)),
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


def text_hash(text: str) -> bytes:
    """16 bytes that name a passage's text: equal texts share an embedding."""
    return blake2b(text.encode(), digest_size=16).digest()


def digest(documents: Iterable[Document]) -> str:
    """SHA-256 of all that documents hold."""
    whole = sha256()
    for document in documents:
        sections = [(section.start, section.page, section.heading) for section in document.sections]
        body = [document.id, document.title, document.text, dict(document.metadata), sections]
        whole.update(json.dumps(body, ensure_ascii=True, sort_keys=True).encode() + b"\n")
    return whole.hexdigest()


def write(folder: Path, draft: Draft, analyzer: Analyzer) -> SegmentStamp:
    """Write all files of a segment but its vectors into a new folder."""
    texts = draft.texts
    postings = analyzer.postings([searched_text(one.title, one.text) for one in chain.from_iterable(draft.passages)])
    files.make_folder(folder)
    batches = {
        "documents.arrow": _documents(draft.documents),
        "passages.arrow": _passages(draft, postings.lengths, texts),
        "terms.arrow": _terms(postings),
        "postings.arrow": _postings(postings),
    }
    stamps = {name: _write_arrow(folder / name, batch) for name, batch in batches.items()}
    return SegmentStamp(name=folder.name, documents=len(draft.documents), passages=len(texts), files=stamps)


def write_sentences(folder: Path, sentences: Sequence[NDArray[np.floating]]) -> FileStamp:
    """Write the vectors of each passage's sentences, (sentences, dimensions) by row, in half precision."""
    ends = np.cumsum([0, *(len(one) for one in sentences)])
    flat = np.concatenate(sentences).astype(np.float16)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    column = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), vectors)
    return _write_arrow(folder / SENTENCES, pa.RecordBatch.from_arrays([column], names=["vectors"]))


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


def _passages(draft: Draft, lengths: NDArray[np.int32], texts: Sequence[str]) -> pa.RecordBatch:
    rows = [
        (number, passage.start, passage.end, *places)
        for number, (document, passages) in enumerate(zip(draft.documents, draft.passages, strict=True))
        for passage, places in zip(passages, _bytes(document.text, passages), strict=True)
    ]
    columns = [*np.array(rows, dtype=np.int64).reshape(-1, 5).T, lengths]
    hashes = pa.array([text_hash(text) for text in texts], pa.binary(16))
    arrays = [pa.array(np.ascontiguousarray(column)) for column in columns]
    return pa.RecordBatch.from_arrays([*arrays, hashes], schema=_PASSAGES)


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
