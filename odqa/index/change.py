"""Changes of an index: documents added, replaced and removed, segments merged. Each makes one new generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

import odqa
from odqa import progress
from odqa.errors import CorpusError, IndexMismatchError, StoredIndexError
from odqa.index import build, draft, where
from odqa.index.draft import Draft
from odqa.index.generation import Generation, SegmentStamp, collect_garbage, commit, current
from odqa.index.journal import Journal, key
from odqa.index.segment import Segment, bury
from odqa.index.terms import Analyzer
from odqa.index.vectors import Codec
from odqa.text import counted
from odqa.types import Document, Scalar

SMALL_SHARE = 4
"""A segment with under a fourth of the passages that one may have is small."""
MOST_SMALL = 8
"""With more small segments than this, adding merges them."""


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """What a change did; `replaced` documents are among the added, `unknown` ids were asked for but not there."""

    name: str
    generation: int
    added: int = 0
    replaced: int = 0
    removed: int = 0
    skipped: int = 0
    unknown: int = 0
    documents: int = 0
    passages: int = 0
    segments: int = 0
    size: int = 0


def add(
    folder: Path,
    documents: Iterable[Document],
    *,
    embedder: build.PassageEmbedder,
    splitter: build.PassageSplitter,
    segment_passages: int | None = None,
) -> ChangeReport:
    """Add documents; one whose id is there replaces the one that was. The caller holds the index's lock.

    One that is there and has no text any more is removed.

    Raises:
        CorpusError: an id stands twice, or no document holds any text.
        IndexMismatchError: another embedder made the vectors.
        StoredIndexError: the index is damaged, the disk is full or the folder can't be written.
    """
    newest = current(folder)
    check_embedder(folder.name, newest, embedder)
    owned = opened(folder, newest)
    codec = codec_of(folder, newest)
    terms, sentences = Analyzer(newest.card.terms), newest.card.sentences
    writer = build.SegmentWriter(folder, terms, codec, embedder, owned, sentences=sentences)
    intake = build.Intake(documents)
    journal = Journal(folder, key(newest.card, embedder.fingerprint, newest.number + 1))
    build.write_segments(intake, journal, writer, splitter, segment_passages)
    if not journal.entries:
        raise CorpusError(f"The source holds no text ({counted(intake.skipped, 'empty document')}). Give it documents.")
    replaced = [segment.with_ids(list(intake.ids)) for segment in owned]
    emptied = [segment.with_ids(list(intake.empty - intake.ids)) for segment in owned]
    kept = _buried(folder, owned, [one | other for one, other in zip(replaced, emptied, strict=True)])
    stamps = [*kept, *(entry.segment for entry in journal.entries)]
    made = _commit(folder, newest, stamps)
    if sum(_is_small(stamp) for stamp in stamps) > MOST_SMALL:
        with suppress(StoredIndexError):  # the documents are in; merging is tried again with the next addition
            made = _compacted(folder, made, [stamp for stamp in stamps if _is_small(stamp)])
    counts = {"added": len(intake.ids), "replaced": _count(replaced), "removed": _count(emptied)}
    return _report(folder, made, **counts, skipped=intake.skipped)


def remove(folder: Path, *, ids: Sequence[str] = (), condition: str | None = None) -> ChangeReport:
    """Remove the documents that have one of `ids` or meet the filter. The caller holds the index's lock.

    Raises:
        ConfigError: the filter is wrong.
        StoredIndexError: the index is damaged, the disk is full or the folder can't be written.
    """
    newest = current(folder)
    owned = opened(folder, newest)
    named = [segment.with_ids(ids) for segment in owned]
    unknown = len(set(ids)) - _count(named)
    if condition is not None:
        named = [one | other for one, other in zip(named, matching(owned, condition), strict=True)]
    removed = _count(named)
    made = _commit(folder, newest, _buried(folder, owned, named)) if removed else newest
    return _report(folder, made, removed=removed, unknown=unknown)


def compact(folder: Path) -> ChangeReport:
    """Merge small segments and write those anew that hold removed documents. The caller holds the index's lock.

    What an unfinished addition left behind is removed, too.

    Raises:
        StoredIndexError: the index is damaged, the disk is full or the folder can't be written.
    """
    newest = current(folder)
    stamps = [stamp for stamp in newest.segments if stamp.tombstones or _is_small(stamp)]
    worthwhile = len(stamps) > 1 or any(stamp.tombstones for stamp in stamps)
    made = _compacted(folder, newest, stamps) if worthwhile else newest
    collect_garbage(folder, made)
    return _report(folder, made)


def check_embedder(name: str, generation: Generation, embedder: build.PassageEmbedder) -> None:
    """Raise an IndexMismatchError where another embedder made the vectors."""
    built = generation.embedder
    if built.fingerprint != embedder.fingerprint:
        asked = f'is asked with "{embedder.name}" ({embedder.dimension})'
        if built.name == embedder.name:
            asked = "that model's files have changed since"
        raise IndexMismatchError(
            f'Index "{name}" was built with "{built.name}" ({built.dimension} dimensions) but {asked}. '
            f"Rebuild it: odqa index build {name} --replace"
        )


def opened(folder: Path, generation: Generation) -> list[Segment]:
    """The segments of a generation, opened."""
    return [Segment(folder, stamp) for stamp in generation.segments]


def codec_of(folder: Path, generation: Generation) -> Codec:
    """What makes a generation's codes."""
    codec = Codec(generation.card.factory, generation.embedder.dimension)
    if generation.codec:
        codec.load(folder / generation.codec.name)
    return codec


def matching(segments: Sequence[Segment], condition: str) -> list[NDArray[np.bool_]]:
    """For each segment which live documents meet the filter, bool (documents,).

    Raises:
        ConfigError: the filter is wrong.
    """
    columns: dict[str, list[Scalar]] = {}
    live = [segment.live_numbers() for segment in segments]

    def column(name: str) -> list[Scalar]:
        if name not in columns:
            columns[name] = _column(segments, live, name)
        return columns[name]

    found = np.split(where.parse(condition)(column), np.cumsum([len(numbers) for numbers in live])[:-1])
    masks = [np.zeros(segment.stamp.documents, dtype=np.bool_) for segment in segments]
    for mask, numbers, meets in zip(masks, live, found, strict=False):
        mask[numbers[meets]] = True
    return masks


def _column(segments: Sequence[Segment], live: Sequence[NDArray[np.int64]], name: str) -> list[Scalar]:
    found: list[Scalar] = []
    for segment, numbers in zip(segments, live, strict=True):
        values = segment.column(name)
        found += [values[number] for number in numbers]
    if found and all(value is None for value in found):
        known = {key for segment in segments for metadata in segment.metadata for key in metadata}
        where.check_column(name, known)
    return found


def _buried(folder: Path, segments: Sequence[Segment], dead: Sequence[NDArray[np.bool_]]) -> list[SegmentStamp]:
    """The segments' stamps with `dead` documents taken out; a segment with none left is let go."""
    stamps = []
    for segment, mask in zip(segments, dead, strict=True):
        gone = bool(mask.any())
        name = f"tombstones/{segment.stamp.name}-{uuid4().hex[:8]}.npy"
        stamps.append(bury(folder, name, segment, mask) if gone else segment.stamp)
    return [stamp for stamp in stamps if stamp.live_documents]


def _count(masks: Iterable[NDArray[np.bool_]]) -> int:
    return sum(int(mask.sum()) for mask in masks)


def _commit(folder: Path, newest: Generation, stamps: Sequence[SegmentStamp]) -> Generation:
    made = newest.model_copy(
        update={
            "number": newest.number + 1,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "odqa": odqa.__version__,
            "segments": tuple(stamps),
        }
    )
    commit(folder, made)
    collect_garbage(folder, made)
    return made


def _is_small(stamp: SegmentStamp) -> bool:
    return stamp.live_passages * SMALL_SHARE < build.SEGMENT_PASSAGES


def _compacted(folder: Path, newest: Generation, stamps: Sequence[SegmentStamp]) -> Generation:
    """Write the live documents of some segments into new ones, as few as can be."""
    analyzer, codec = Analyzer(newest.card.terms), codec_of(folder, newest)
    old = [Segment(folder, stamp) for stamp in stamps]
    made = []
    for piece, codes, sentences in progress.track(
        _pieces(old, sentences=newest.card.sentences), "Compacting", unit="segments"
    ):
        stamp = draft.write(folder / "segments" / uuid4().hex[:12], piece, analyzer)
        stamp = build.with_sentences(folder, stamp, sentences) if sentences else stamp
        made.append(build.with_vectors(folder, stamp, codec, codes))
    gone = {stamp.name for stamp in stamps}
    return _commit(folder, newest, [*(stamp for stamp in newest.segments if stamp.name not in gone), *made])


def _pieces(
    segments: Sequence[Segment], *, sentences: bool
) -> Iterator[tuple[Draft, NDArray[np.uint8], list[NDArray[np.float16]]]]:
    """The live documents of segments, as much as one segment may hold at a time, with their vectors' codes.

    With `sentences` come the vectors of each passage's sentences, else none.
    """
    piece, codes, parts, rows = Draft(), list[NDArray[np.uint8]](), list[NDArray[np.float16]](), 0
    for segment in segments:
        for number in segment.live_numbers():
            places = segment.rows_of(int(number))
            full = rows + len(places) > build.SEGMENT_PASSAGES or piece.characters > build.SEGMENT_CHARACTERS
            if piece.documents and full:
                yield piece, np.concatenate(codes), parts
                piece, codes, parts, rows = Draft(), [], [], 0
            piece.add(segment.document(int(number)), [segment.passage(row) for row in places])
            codes.append(segment.vectors.codes(np.array(places)))
            parts += segment.sentences(np.array(places)) if sentences else []
            rows += len(places)
    if piece.documents:
        yield piece, np.concatenate(codes), parts


def _report(folder: Path, made: Generation, **counts: int) -> ChangeReport:
    return ChangeReport(
        folder.name,
        made.number,
        **counts,
        documents=made.documents,
        passages=made.passages,
        segments=len(made.segments),
        size=made.size,
    )
