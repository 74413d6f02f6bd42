"""Documents to an index: cut, counted, embedded and written segment by segment, then made live in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

import odqa
from odqa.errors import ConfigError, CorpusError
from odqa.index import files, segment, vectors
from odqa.index.generation import EmbedderStamp, Generation, SegmentStamp, collect_garbage, commit
from odqa.index.segment import Draft
from odqa.index.terms import Analyzer
from odqa.recipes import Card, PassageCard
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


class PassageSplitter(Protocol):
    """What building an index asks of a splitter."""

    def split(self, document: Document) -> Iterable[Passage]:
        """The passages of a document, by rising start."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What went into an index; `skipped` documents had no text."""

    name: str
    generation: int
    documents: int
    passages: int
    segments: int
    skipped: int
    size: int


@dataclass(slots=True)
class _Counts:
    skipped: int = 0


def build(
    folder: Path,
    documents: Iterable[Document],
    *,
    card: Card,
    embedder: PassageEmbedder,
    splitter: PassageSplitter,
    number: int,
    segment_passages: int = SEGMENT_PASSAGES,
) -> BuildReport:
    """Write `documents` as generation `number` of the index in `folder`; the caller holds its lock.

    Until the last step readers see the generation before, or none.

    Raises:
        CorpusError: an id stands twice, or no document holds any text.
        ConfigError: the card asks for what can't be.
        StoredIndexError: the disk is full or the folder can't be written.
    """
    vectors.check_factory(card.factory)
    analyzer = Analyzer(card.terms)
    counts = _Counts()
    with files.writing(folder.name, folder):
        files.make_folder(folder / "segments")
        stamps: list[SegmentStamp] = []
        for draft in _drafts(_with_text(documents, counts), splitter, segment_passages):
            texts = draft.texts
            embedded = embedder.embed_passages(texts, description=f"Embedding segment {len(stamps) + 1}")
            place = folder / "segments" / uuid4().hex[:12]
            stamps.append(segment.write(place, draft, embedded, analyzer, card.factory))
        if not stamps:
            raise CorpusError(f"The corpus holds no text ({counts.skipped} empty documents). Give it documents.")
        files.sync_folder(folder / "segments")
        generation = Generation(
            number=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            odqa=odqa.__version__,
            card=card,
            embedder=EmbedderStamp(name=embedder.name, fingerprint=embedder.fingerprint, dimension=embedder.dimension),
            segments=tuple(stamps),
        )
        commit(folder, generation)
        collect_garbage(folder, generation)
    return BuildReport(
        folder.name,
        number,
        generation.documents,
        generation.passages,
        len(stamps),
        counts.skipped,
        generation.size,
    )


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


def _with_text(documents: Iterable[Document], counts: _Counts) -> Iterator[Document]:
    seen: set[str] = set()
    for document in documents:
        if not document.text.strip():
            counts.skipped += 1
            continue
        if document.id in seen:
            raise CorpusError(f'The document id "{document.id}" stands twice in the corpus; ids must be unique.')
        seen.add(document.id)
        yield document


def _drafts(documents: Iterable[Document], splitter: PassageSplitter, passages: int) -> Iterator[Draft]:
    draft, rows = Draft(), 0
    for document in documents:
        found = list(splitter.split(document))
        if draft.documents and (rows + len(found) > passages or draft.characters > SEGMENT_CHARACTERS):
            yield draft
            draft, rows = Draft(), 0
        draft.add(document, found)
        rows += len(found)
    if draft.documents:
        yield draft
