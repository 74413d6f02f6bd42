"""The home's indexes: found by name, listed, renamed, deleted, verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from odqa import config, progress
from odqa.errors import ConfigError, IndexDamagedError, IndexLockedError, IndexNotFoundError, StoredIndexError
from odqa.index import files
from odqa.index.files import FileStamp
from odqa.index.generation import CURRENT, KEPT_GENERATIONS, Generation, current, decode, file_name

LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the list of indexes: its generation, or why it can't be opened."""

    name: str
    generation: Generation | None
    problem: str = ""


def folder_of(name: str) -> Path:
    """Where the index of that name is kept, whether it exists or not.

    Raises:
        ConfigError: the name can't be a folder's.
    """
    return config.indexes_folder() / config.check_name(name, "an index")


def existing(name: str) -> Path:
    """The folder of a built index.

    Raises:
        IndexNotFoundError: there is none; the known ones are named.
    """
    folder = folder_of(name)
    if not folder.is_dir():
        known = ", ".join(names()) or "none yet"
        raise IndexNotFoundError(
            f'No index "{name}" in {folder.parent}. Known: {known}. Build it: odqa index build {name}'
        )
    return folder


def names() -> list[str]:
    """The names of all index folders, sorted; half-built ones too."""
    root = config.indexes_folder()
    found = root.iterdir() if root.is_dir() else []
    return sorted(path.name for path in found if path.is_dir() and not path.name.startswith("."))


def listed() -> Iterator[Listed]:
    """Every index with its generation, or with what keeps it from opening."""
    for name in names():
        try:
            yield Listed(name, current(folder_of(name)))
        except StoredIndexError as error:
            yield Listed(name, None, str(error))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only writer of an index; the lock dies with its process.

    Raises:
        IndexLockedError: another process is writing.
    """
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise IndexLockedError(f'Index "{folder.name}" is being written by another process. Wait for it.') from None


def rename(name: str, new_name: str) -> None:
    """Give an index another name.

    Raises:
        IndexNotFoundError: there is none of the old name.
        ConfigError: the new name is taken or can't be.
    """
    folder, target = existing(name), folder_of(new_name)
    if target.exists():
        raise ConfigError(f'An index "{new_name}" exists already. Choose another name, or delete it first.')
    with files.writing(name, folder), locked(folder):
        files.move(folder, target)


def delete(name: str) -> None:
    """Remove an index: at once out of sight, then file by file.

    Raises:
        IndexNotFoundError: there is none of that name.
    """
    folder = existing(name)
    grave = folder.with_name(f".deleted-{name}-{uuid4().hex[:8]}")
    with files.writing(name, folder):
        with locked(folder):
            files.move(folder, grave)
        files.remove_tree(grave)


def verify(name: str) -> list[str]:
    """Check every byte of an index against its checksums; returns one sentence a fault, none for a sound index.

    Raises:
        IndexNotFoundError: there is none of that name.
    """
    folder = existing(name)
    try:
        newest = current(folder)
    except IndexDamagedError as error:
        return [str(error)]
    problems = []
    stamps = {(segment.name, file): stamp for segment in newest.segments for file, stamp in segment.files.items()}
    for age in range(1, KEPT_GENERATIONS):
        path = folder / file_name(newest.number - age)
        if path.is_file():
            try:
                older = decode(path.read_bytes(), path)
            except IndexDamagedError as error:
                problems.append(str(error))
                continue
            stamps |= {
                (segment.name, file): stamp for segment in older.segments for file, stamp in segment.files.items()
            }
    checks = progress.track(sorted(stamps.items()), "Verifying", total=len(stamps), unit="files")
    return problems + [
        fault for (segment, file), stamp in checks if (fault := _fault(folder / "segments" / segment / file, stamp))
    ]


def _fault(path: Path, stamp: FileStamp) -> str:
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} can't be read: {error.strerror}."
    return "" if found == stamp.sha256 else f"{path} is damaged: its SHA-256 is not the one that was written."


def check_free(folder: Path, *, replace: bool) -> int:
    """The number of the next generation.

    Raises:
        ConfigError: a finished index of that name exists and may not be replaced.
    """
    if not (folder / CURRENT).exists():
        return 1
    if not replace:
        raise ConfigError(f'Index "{folder.name}" exists already. Replace it with --replace, or choose another name.')
    try:
        return current(folder).number + 1
    except IndexDamagedError:
        numbers = [int(path.stem.removeprefix("generation-")) for path in folder.glob("generation-*.json")]
        return max(numbers, default=0) + 1
