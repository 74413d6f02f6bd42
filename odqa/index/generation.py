"""Generations: numbered, immutable lists of the segments that are live, and CURRENT, which names one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from odqa.errors import IndexDamagedError, IndexNotFoundError
from odqa.index import files
from odqa.index.files import FileStamp
from odqa.recipes import Card

FORMAT = 1
KEPT_GENERATIONS = 2
CURRENT = "CURRENT"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EmbedderStamp(_Record):
    """Which embedder made the vectors."""

    name: str
    fingerprint: str
    dimension: int


class SegmentStamp(_Record):
    """One live segment: what it holds, and every file's size and SHA-256. Tombstone files are named here too."""

    name: str
    documents: int
    passages: int
    files: dict[str, FileStamp]
    tombstones: FileStamp | None = None


class Generation(_Record):
    """One state of an index, whole."""

    format: int = FORMAT
    number: int
    created: str
    odqa: str
    card: Card
    embedder: EmbedderStamp
    segments: tuple[SegmentStamp, ...]

    @property
    def documents(self) -> int:
        """Live documents."""
        return sum(segment.documents for segment in self.segments)

    @property
    def passages(self) -> int:
        """Live passages."""
        return sum(segment.passages for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes of all segments' files."""
        return sum(stamp.size for segment in self.segments for stamp in segment.files.values())


def file_name(number: int) -> str:
    """The file of a generation, in the index's folder."""
    return f"generation-{number:06}.json"


def encode(generation: Generation) -> bytes:
    """The file's only valid form: JSON with sorted keys and the SHA-256 of all the rest."""
    body = generation.model_dump(mode="json")
    return _canonical({**body, "checksum": hashlib.sha256(_canonical(body)).hexdigest()})


def _canonical(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode(data: bytes, path: Path) -> Generation:
    """Read a generation back.

    Raises:
        IndexDamagedError: a byte differs from what was written, or a newer odqa wrote it.
    """
    try:
        body = json.loads(data)
        body.pop("checksum")
        if body["format"] > FORMAT:
            raise IndexDamagedError(
                f"{path} has format {body['format']}, newer than this odqa reads ({FORMAT}). Upgrade odqa."
            )
        generation = Generation.model_validate(body)
        intact = encode(generation) == data
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError):
        intact = False
    if not intact:
        raise IndexDamagedError(f"{path} is damaged: its bytes don't match its checksum. Rebuild the index.")
    return generation


def commit(folder: Path, generation: Generation) -> None:
    """Make `generation` the state that readers see, in one step."""
    data = encode(generation)
    files.publish(folder / file_name(generation.number), data)
    files.publish(folder / CURRENT, f"{generation.number} {hashlib.sha256(data).hexdigest()}\n".encode())


def current(folder: Path) -> Generation:
    """The generation that CURRENT names.

    Raises:
        IndexNotFoundError: nothing was ever committed here.
        IndexDamagedError: CURRENT or the generation is missing or damaged.
    """
    try:
        pointer = (folder / CURRENT).read_bytes()
    except FileNotFoundError:
        raise IndexNotFoundError(f'Index "{folder.name}" was never finished. Run its build again.') from None
    parts = pointer.decode("ascii", errors="replace").split(" ")
    if len(parts) != 2 or not parts[0].isdecimal():
        raise IndexDamagedError(f"{folder / CURRENT} is damaged: it must name a generation and its SHA-256.")
    path = folder / file_name(int(parts[0]))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise IndexDamagedError(f"{path} is missing, though {CURRENT} names it. Rebuild the index.") from None
    if f"{int(parts[0])} {hashlib.sha256(data).hexdigest()}\n".encode() != pointer:
        raise IndexDamagedError(f"{path} is damaged, or {CURRENT} is: their checksums differ. Rebuild the index.")
    return decode(data, path)


def collect_garbage(folder: Path, newest: Generation) -> None:
    """Remove generations before the last two, and segments that no kept generation names."""
    kept = {file_name(newest.number - age): None for age in range(KEPT_GENERATIONS)}
    live = {segment.name for segment in newest.segments}
    for path in sorted(folder.glob("generation-*.json")):
        if path.name not in kept:
            files.remove_tree(path)
        elif path.name != file_name(newest.number):
            live |= {segment.name for segment in decode(path.read_bytes(), path).segments}
    for segment in folder.glob("segments/*"):
        if segment.name not in live:
            files.remove_tree(segment)
