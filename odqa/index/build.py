"""Documents to an index: cut, counted, embedded and written segment by segment, then made live in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

import odqa
from odqa import progress
from odqa.errors import ConfigError, CorpusError
from odqa.index import draft, files, tuning, vectors
from odqa.index.draft import Draft, text_hash
from odqa.index.generation import (
    EmbedderStamp,
    Generation,
    NamedFile,
    SegmentStamp,
    Tuning,
    collect_garbage,
    commit,
    still_is,
)
from odqa.index.journal import Entry, Journal, key
from odqa.index.segment import Segment
from odqa.index.terms import Analyzer
from odqa.index.vectors import Codec, Vectors, unit
from odqa.recipes import Card, PassageCard
from odqa.text import broken_at, counted
from odqa.types import Document, Passage

SEGMENT_PASSAGES = 65_536
SEGMENT_CHARACTERS = 64_000_000


class PassageEmbedder(Protocol):
    """What building an index asks of an embedder."""

    name: str
    fingerprint: str
    dimension: int

    def embed_passages(self, passages: list[str], *, description: str = ...) -> NDArray[np.float32]:
        """Vectors, float32 (passages, dimensions)."""

    def embed_sentences(
        self, passages: list[str], *, description: str = ...
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Vectors of passages, and those of each one's sentences, float32 (sentences, dimensions)."""


class PassageSplitter(Protocol):
    """What building an index asks of a splitter."""

    def split(self, document: Document) -> Iterable[Passage]:
        """The passages of a document, by rising start."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What went into an index; `skipped` documents had no text, `resumed` segments were finished before."""

    name: str
    generation: int
    documents: int
    passages: int
    segments: int
    skipped: int
    size: int
    resumed: int = 0


@dataclass(slots=True)
class Intake:
    """Documents on their way in: those with text, each id once; `empty` are the ids of those without."""

    documents: Iterable[Document]
    skipped: int = 0
    ids: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Document]:
        """Pass on the documents that hold text.

        Raises:
            CorpusError: an id stands twice, or a text is none that a file can hold.
        """
        for document in self.documents:
            if not document.text.strip():
                self.skipped += 1
                self.empty.add(document.id)
                continue
            if document.id in self.ids:
                raise CorpusError(f'The document id "{document.id}" stands twice in the corpus; ids must be unique.')
            if any(broken_at(text) is not None for text in (document.id, document.title, document.text)):
                raise CorpusError(f"Document {document.id!r} holds half of a surrogate pair: decode its text anew.")
            self.ids.add(document.id)
            yield document


@dataclass(frozen=True, slots=True)
class SegmentWriter:
    """What it takes to write segments into an index's folder.

    Attributes:
        folder: The index's folder.
        analyzer: Text to terms.
        codec: Vectors to bytes.
        embedder: Text to vectors.
        owned: Opened segments whose embeddings are used again.
        staged: Write vectors beside the segment, to be encoded when all are known.
        sentences: Write the vectors of sentences, too.
    """

    folder: Path
    analyzer: Analyzer
    codec: Codec
    embedder: PassageEmbedder
    owned: Sequence[Segment] = ()
    staged: bool = False
    sentences: bool = False

    def write(self, made: Draft, description: str) -> Entry:
        """Write one segment, on the disk when this returns."""
        name = uuid4().hex[:12]
        stamp = draft.write(self.folder / "segments" / name, made, self.analyzer)
        codes, sentences = self._embedded(made.texts, description)
        if self.sentences:
            stamp = with_sentences(self.folder, stamp, sentences)
        staged = None
        if self.staged:
            staged = write_file(self.folder, f"staged/{name}.faiss", self.codec, codes)
        else:
            stamp = with_vectors(self.folder, stamp, self.codec, codes)
        return Entry(segment=stamp, digest=draft.digest(made.documents), staged=staged)

    def _embedded(self, texts: list[str], description: str) -> tuple[NDArray[np.uint8], list[NDArray[np.floating]]]:
        hashes = [text_hash(text) for text in texts]
        known = self._known(list(dict.fromkeys(hashes)))
        new = {name: text for name, text in zip(hashes, texts, strict=True) if name not in known}
        if new:
            vectors, sentences = self._embed(list(new.values()), description)
            known |= dict(zip(new, zip(self.codec.encode(unit(vectors)), sentences, strict=True), strict=True))
        return np.stack([known[name][0] for name in hashes]), [known[name][1] for name in hashes]

    def _embed(self, texts: list[str], description: str) -> tuple[NDArray[np.float32], Sequence[NDArray[np.floating]]]:
        if self.sentences:
            vectors, sentences = self.embedder.embed_sentences(texts, description=description)
            return vectors, [unit(one) for one in sentences]
        vectors = self.embedder.embed_passages(texts, description=description)
        return vectors, list(vectors[:, None])

    def _known(self, hashes: list[bytes]) -> dict[bytes, tuple[NDArray[np.uint8], NDArray[np.floating]]]:
        found: dict[bytes, tuple[NDArray[np.uint8], NDArray[np.floating]]] = {}
        for segment in self.owned:
            named = segment.rows_with([name for name in hashes if name not in found])
            rows = np.array(list(named.values()), dtype=np.int64)
            if named:
                codes = segment.vectors.codes(rows)
                sentences = segment.sentences(rows) if self.sentences else [np.empty((0, 0)) for _ in rows]
                found |= zip(named, zip(codes, sentences, strict=True), strict=True)
        return found


def write_file(folder: Path, name: str, codec: Codec, codes: NDArray[np.uint8] | None = None) -> NamedFile:
    """Write a codec, with `codes` where they are given, as the file `name` of the index in `folder`."""
    path = folder / name
    files.make_folder(path.parent)
    files.remove(path)
    with files.create(path) as file:
        if codes is None:
            codec.save(file.write)
        else:
            codec.write(codes, file.write)
    files.sync_folder(path.parent)
    return NamedFile(name=name, stamp=file.stamp)


def with_vectors(folder: Path, stamp: SegmentStamp, codec: Codec, codes: NDArray[np.uint8]) -> SegmentStamp:
    """Write a segment's vectors, the last of its files."""
    made = write_file(folder, f"segments/{stamp.name}/vectors.faiss", codec, codes)
    return stamp.model_copy(update={"files": {**stamp.files, "vectors.faiss": made.stamp}})


def with_sentences(folder: Path, stamp: SegmentStamp, sentences: Sequence[NDArray[np.floating]]) -> SegmentStamp:
    """Write the vectors of a segment's sentences."""
    made = draft.write_sentences(folder / "segments" / stamp.name, sentences)
    return stamp.model_copy(update={"files": {**stamp.files, draft.SENTENCES: made}})


def build(
    folder: Path,
    documents: Iterable[Document],
    *,
    card: Card,
    embedder: PassageEmbedder,
    splitter: PassageSplitter,
    number: int,
    segment_passages: int | None = None,
) -> BuildReport:
    """Write `documents` as generation `number` of the index in `folder`; the caller holds its lock.

    Until the last step readers see the generation before, or none. A build that was killed goes on after its last
    finished segment, as far as the documents are still the same.

    Raises:
        CorpusError: an id stands twice, or no document holds any text.
        ConfigError: the card asks for what can't be.
        StoredIndexError: the disk is full or the folder can't be written.
    """
    codec = Codec(card.factory, embedder.dimension)
    staged = card.factory != vectors.FLAT
    first = Codec(vectors.FLAT, embedder.dimension) if staged else codec
    terms = Analyzer(card.terms)
    writer = SegmentWriter(folder, terms, first, embedder, staged=staged, sentences=card.sentences)
    intake, journal = Intake(documents), Journal(folder, key(card, embedder.fingerprint, number))
    resumed = write_segments(intake, journal, writer, splitter, segment_passages)
    if not journal.entries:
        raise CorpusError(f"The corpus holds no text ({counted(intake.skipped, 'empty document')}). Give it documents.")
    stamps, trained, tuned = (
        _encoded(folder, journal.entries, codec, card.recall) if staged else _plain(journal.entries)
    )
    generation = Generation(
        number=number,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        odqa=odqa.__version__,
        card=card,
        embedder=EmbedderStamp(name=embedder.name, fingerprint=embedder.fingerprint, dimension=embedder.dimension),
        segments=stamps,
        codec=trained,
        tuning=tuned,
    )
    commit(folder, generation)
    collect_garbage(folder, generation)
    counts = (generation.documents, generation.passages, len(stamps), intake.skipped, generation.size)
    return BuildReport(folder.name, number, *counts, resumed)


def write_segments(
    documents: Iterable[Document],
    journal: Journal,
    writer: SegmentWriter,
    splitter: PassageSplitter,
    segment_passages: int | None,
) -> int:
    """Write what isn't written yet, noting each segment in the journal; returns how many were written before."""

    def sound(entry: Entry) -> bool:
        named = [*entry.segment.all_files(), *([(entry.staged.name, entry.staged.stamp)] if entry.staged else ())]
        return all(still_is(writer.folder / name, stamp) for name, stamp in named)

    rest = journal.resume(documents, sound)
    resumed = len(journal.entries)
    for made in _drafts(rest, splitter, SEGMENT_PASSAGES if segment_passages is None else segment_passages):
        journal.add(writer.write(made, f"Embedding segment {len(journal.entries) + 1}"))
    return resumed


_Finished = tuple[tuple[SegmentStamp, ...], NamedFile | None, Tuning | None]


def _plain(entries: list[Entry]) -> _Finished:
    return tuple(entry.segment for entry in entries), None, None


def _encoded(folder: Path, entries: list[Entry], codec: Codec, recall: float) -> _Finished:
    """Train the codec on a sample of the staged vectors, encode them all, and choose how far to look."""
    staged = [Vectors(folder / entry.staged.name) for entry in entries if entry.staged]
    trained = None
    if not codec.trained:
        with progress.bar(f"Training {codec.factory}"):
            codec.train(tuning.sample(staged, codec.sample_size))
        trained = write_file(folder, f"codecs/{uuid4().hex[:12]}.faiss", codec)
    stamps = tuple(
        with_vectors(folder, entry.segment, codec, codec.encode(one.rows(np.arange(len(one)))))
        for entry, one in progress.track(
            zip(entries, staged, strict=True), "Encoding", total=len(entries), unit="segments"
        )
    )
    encoded = [Vectors(folder / "segments" / stamp.name / "vectors.faiss") for stamp in stamps]
    return stamps, trained, tuning.tune(encoded, staged, recall)


def passage_tokens(card: PassageCard, limit: int) -> int:
    """The most tokens a passage may have, given what the embedder reads.

    Raises:
        ConfigError: the card asks for more, or for an overlap that leaves nothing.
    """
    if card.max_tokens > limit:
        raise ConfigError(f"passages.max_tokens is {card.max_tokens}, but the embedder reads only {limit} tokens.")
    tokens = card.max_tokens or limit
    if card.overlap >= tokens:
        raise ConfigError(f"passages.overlap ({card.overlap}) must be under passages.max_tokens ({tokens}).")
    return tokens


def _drafts(documents: Iterable[Document], splitter: PassageSplitter, passages: int) -> Iterator[Draft]:
    made, rows = Draft(), 0
    for document in documents:
        found = list(splitter.split(document))
        if made.documents and (rows + len(found) > passages or made.characters > SEGMENT_CHARACTERS):
            yield made
            made, rows = Draft(), 0
        made.add(document, found)
        rows += len(found)
    if made.documents:
        yield made
