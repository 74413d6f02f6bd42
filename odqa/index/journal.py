"""The journal of a build: which segments are finished, so that a killed build goes on after the last of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from odqa.index import draft, files
from odqa.index.generation import JOURNAL, NamedFile, SegmentStamp, seal, unseal
from odqa.index.vectors import FLAT
from odqa.recipes import Card
from odqa.types import Document


class Entry(BaseModel):
    """A finished segment, and the SHA-256 of the documents it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment: SegmentStamp
    digest: str
    staged: NamedFile | None = None


class Journal:
    """The finished segments of a build that is not committed yet."""

    def __init__(self, folder: Path, key: str) -> None:
        """Take up what a build of the same `key` left behind; what any other left is not looked at."""
        self._folder = folder
        self._key = key
        self.entries = _read(folder / JOURNAL, key)

    @property
    def segments(self) -> set[str]:
        """The names of the finished segments."""
        return {entry.segment.name for entry in self.entries}

    def resume(self, documents: Iterable[Document], sound: Callable[[Entry], bool]) -> Iterator[Document]:
        """Keep the finished segments while they are `sound` and `documents` begin as before; pass on the rest."""
        rest, kept = iter(documents), []
        for entry in self.entries:
            taken = list(islice(rest, entry.segment.documents))
            if draft.digest(taken) != entry.digest or not sound(entry):
                rest = chain(taken, rest)
                break
            kept.append(entry)
        self.entries = kept
        return rest

    def add(self, entry: Entry) -> None:
        """Note a finished segment, on the disk when this returns."""
        self.entries.append(entry)
        body = {"key": self._key, "entries": [entry.model_dump(mode="json") for entry in self.entries]}
        files.publish(self._folder / JOURNAL, seal(body))


def key(card: Card, fingerprint: str, base: int) -> str:
    """What must be the same for a build to go on: the card, the embedder and the generation it begins from.

    Of the factory only whether it is Flat: any other one can be made of the vectors that are staged.
    """
    made = card.model_dump(mode="json", exclude={"description", "licence", "factory", "recall"})
    seed = [made, card.factory == FLAT, fingerprint, base]
    return hashlib.sha256(json.dumps(seed, sort_keys=True).encode()).hexdigest()


def _read(path: Path, key: str) -> list[Entry]:
    body = unseal(path.read_bytes()) if path.is_file() else None
    if body is None or body["key"] != key:
        return []
    try:
        return [Entry.model_validate(entry) for entry in body["entries"]]
    except ValidationError:
        return []
