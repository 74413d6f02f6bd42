"""An index as Parquet: `documents.parquet`, and `passages.parquet` with the vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from odqa import progress
from odqa.errors import ConfigError
from odqa.index import files
from odqa.index.segment import Segment

_BATCH = 4096
_SECTION = pa.struct([("start", pa.int64()), ("page", pa.int32()), ("heading", pa.string())])
_DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("metadata", pa.string()),
        ("sections", pa.list_(_SECTION)),
    ]
)
_PASSAGES = pa.schema(
    [
        ("document_id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
        ("vector", pa.list_(pa.float32())),
    ]
)


def write(segments: Sequence[Segment], folder: Path) -> None:
    """Write the live documents and passages of `segments` into a new folder.

    Raises:
        ConfigError: the folder holds something already.
        StoredIndexError: the disk is full or the folder can't be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not empty. Choose a new folder.")
    files.make_folder(folder.absolute())
    stamps = [segment.stamp for segment in segments]
    documents, passages = sum(one.live_documents for one in stamps), sum(one.live_passages for one in stamps)
    found = progress.track(_documents(segments), "Exporting", total=documents, unit="documents")
    _write(folder / "documents.parquet", _DOCUMENTS, found)
    found = progress.track(_passages(segments), "Exporting", total=passages, unit="passages")
    _write(folder / "passages.parquet", _PASSAGES, found)
    files.sync_folder(folder)


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    from pyarrow import parquet

    with (
        files.create(path) as file,
        pa.PythonFile(file, mode="w") as sink,
        parquet.ParquetWriter(sink, schema) as writer,
    ):
        while batch := list(islice(rows, _BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))


def _documents(segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
    for segment in segments:
        for document in segment.documents():
            sections = [{"start": one.start, "page": one.page, "heading": one.heading} for one in document.sections]
            yield {
                "id": document.id,
                "title": document.title,
                "text": document.text,
                "metadata": json.dumps(dict(document.metadata), ensure_ascii=False),
                "sections": sections,
            }


def _passages(segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
    for segment in segments:
        live = np.arange(len(segment)) if segment.live is None else np.flatnonzero(segment.live)
        for at in range(0, len(live), _BATCH):
            rows = live[at : at + _BATCH]
            for row, vector in zip(rows, segment.vectors.rows(rows), strict=True):
                passage = segment.passage(int(row))
                yield {
                    "document_id": passage.document_id,
                    "start": passage.start,
                    "end": passage.end,
                    "text": passage.text,
                    "vector": vector,
                }
