"""Generations: numbered, immutable lists of the segments that are live, and CURRENT, which names one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from odqa.errors import IndexDamagedError, IndexNotFoundError
from odqa.index import files
from odqa.index.files import FileStamp
from odqa.recipes import Card

FORMAT = 3
KEPT_GENERATIONS = 2
CURRENT = "CURRENT"
JOURNAL = "journal.json"
_OWNED = ("generation-*.json", "segments/*", "tombstones/*", "codecs/*", "staged/*", JOURNAL, ".*.draft")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EmbedderStamp(_Record):
    """Which embedder made the vectors."""

    name: str
    fingerprint: str
    dimension: int


class NamedFile(_Record):
    """A file that several generations may share; `name` is its path in the index's folder."""

    name: str
    stamp: FileStamp


class Tombstones(NamedFile):
    """Which documents of a segment are removed, and how many documents and passages that makes."""

    documents: int
    passages: int


class Tuning(_Record):
    """How far an approximate search looks: the FAISS parameter that reached the recall asked for.

    `recall` is recall@10 against exact search on a sample of passages; 0 of `value` is a search without parameter.
    """

    parameter: str
    value: int
    recall: float
    asked: float


class SegmentStamp(_Record):
    """One live segment: what it holds, the removed included, and every file's size and SHA-256."""

    name: str
    documents: int
    passages: int
    files: dict[str, FileStamp]
    tombstones: Tombstones | None = None

    @property
    def live_documents(self) -> int:
        """Documents that are not removed."""
        return self.documents - (self.tombstones.documents if self.tombstones else 0)

    @property
    def live_passages(self) -> int:
        """Passages that are not removed."""
        return self.passages - (self.tombstones.passages if self.tombstones else 0)

    def all_files(self) -> Iterator[tuple[str, FileStamp]]:
        """Every file's path in the index's folder, with its stamp."""
        for name, stamp in self.files.items():
            yield f"segments/{self.name}/{name}", stamp
        if self.tombstones:
            yield self.tombstones.name, self.tombstones.stamp


class Generation(_Record):
    """One state of an index, whole."""

    format: int = FORMAT
    number: int
    created: str
    odqa: str
    card: Card
    embedder: EmbedderStamp
    segments: tuple[SegmentStamp, ...]
    codec: NamedFile | None = None
    tuning: Tuning | None = None

    @property
    def documents(self) -> int:
        """Live documents."""
        return sum(segment.live_documents for segment in self.segments)

    @property
    def passages(self) -> int:
        """Live passages."""
        return sum(segment.live_passages for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(stamp.size for stamp in self.all_files().values())

    def all_files(self) -> dict[str, FileStamp]:
        """Every file that this generation needs, by its path in the index's folder."""
        found = dict(pair for segment in self.segments for pair in segment.all_files())
        return found | ({self.codec.name: self.codec.stamp} if self.codec else {})


def file_name(number: int) -> str:
    """The file of a generation, in the index's folder."""
    return f"generation-{number:06}.json"


def encode(generation: Generation) -> bytes:
    """The file's only valid form; see `seal`."""
    return seal(generation.model_dump(mode="json"))


def seal(body: dict[str, Any]) -> bytes:
    """JSON with sorted keys and the SHA-256 of all the rest."""
    return _canonical({**body, "checksum": hashlib.sha256(_canonical(body)).hexdigest()})


def unseal(data: bytes) -> dict[str, Any] | None:
    """What `seal` was given; None where a byte differs from what it made."""
    try:
        body = json.loads(data)
        body.pop("checksum")
        return body if seal(body) == data else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _canonical(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode(data: bytes, path: Path) -> Generation:
    """Read a generation back.

    Raises:
        IndexDamagedError: a byte differs from what was written, or another odqa wrote it.
    """
    body = unseal(data)
    if body is None:
        raise IndexDamagedError(f"{path} is damaged: its bytes don't match its checksum. Rebuild the index.")
    written = body.get("format")
    if not isinstance(written, int) or written > FORMAT:
        raise IndexDamagedError(f"{path} has format {written}, newer than this odqa reads ({FORMAT}). Upgrade odqa.")
    if written < FORMAT:
        raise IndexDamagedError(
            f"{path} has format {written}, older than this odqa reads ({FORMAT}). Rebuild the index."
        )
    try:
        return Generation.model_validate(body)
    except ValidationError:
        maker = f"odqa {body.get('odqa', 'of unknown version')}"
        raise IndexDamagedError(
            f"{path} was written by {maker}, which this one can't read. Rebuild the index."
        ) from None


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
        StoredIndexError: they can't be read.
    """
    pointer = _pointer(folder)
    while True:
        try:
            return _named(folder, pointer)
        except IndexDamagedError:
            # A writer may have gone on meanwhile, and cleared away what CURRENT named.
            before, pointer = pointer, _pointer(folder)
            if pointer == before:
                raise


def _pointer(folder: Path) -> bytes:
    try:
        return files.read(folder / CURRENT)
    except FileNotFoundError:
        raise IndexNotFoundError(f'Index "{folder.name}" was never finished. Run its build again.') from None


def _named(folder: Path, pointer: bytes) -> Generation:
    parts = pointer.decode("ascii", errors="replace").split(" ")
    if len(parts) != 2 or not parts[0].isdecimal():
        raise IndexDamagedError(f"{folder / CURRENT} is damaged: it must name a generation and its SHA-256.")
    path = folder / file_name(int(parts[0]))
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise IndexDamagedError(f"{path} is missing, though {CURRENT} names it. Rebuild the index.") from None
    if f"{int(parts[0])} {hashlib.sha256(data).hexdigest()}\n".encode() != pointer:
        raise IndexDamagedError(f"{path} is damaged, or {CURRENT} is: their checksums differ. Rebuild the index.")
    return decode(data, path)


def kept(folder: Path, newest: Generation) -> list[Generation]:
    """The newest generation and those before it that are kept.

    Raises:
        IndexDamagedError: one of those before is damaged.
    """
    generations = [newest]
    for age in range(1, KEPT_GENERATIONS):
        path = folder / file_name(newest.number - age)
        with suppress(FileNotFoundError):
            generations.append(decode(files.read(path), path))
    return generations


def collect_garbage(folder: Path, newest: Generation) -> None:
    """Remove all that no kept generation names."""
    try:
        generations = kept(folder, newest)
    except IndexDamagedError:
        generations = [newest]
    live = {file_name(one.number) for one in generations}
    live |= {_owner(name) for one in generations for name in one.all_files()}
    for pattern in _OWNED:
        for path in sorted(folder.glob(pattern)):
            if str(path.relative_to(folder)) not in live:
                files.remove(path)


def _owner(name: str) -> str:
    """The file or the segment's folder that stands or falls as one."""
    return name.rsplit("/", 1)[0] if name.startswith("segments/") else name


def still_is(path: Path, stamp: FileStamp) -> bool:
    """Whether the file's bytes are those that were written."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == stamp.sha256
    except OSError:
        return False
