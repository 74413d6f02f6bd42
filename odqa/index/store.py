"""The home's indexes: found by name, listed, renamed, deleted, verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from odqa import config, progress
from odqa.errors import ConfigError, IndexDamagedError, IndexLockedError, IndexNotFoundError, StoredIndexError
from odqa.index import files
from odqa.index.generation import CURRENT, JOURNAL, Generation, SegmentStamp, current, kept, still_is
from odqa.text import counted

LOCK = "lock"
_BEFORE_A_SEGMENT = {LOCK, "segments", "staged", f".{JOURNAL}.draft"}
"""All that may lie in a folder where no segment is finished."""


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
    return sorted(path.name for path in found if path.is_dir() and config.is_name(path.name))


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
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise IndexLockedError(f'Index "{folder.name}" is being written by another process. Wait for it.') from None
    except OSError as error:
        raise files.refusal(folder / LOCK, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def building(folder: Path, *, replace: bool) -> Iterator[int]:
    """Be the only writer of an index that is built anew, given the number of its next generation.

    A build that fails before its first segment is finished leaves nothing behind.

    Raises:
        ConfigError: a finished index of that name exists and may not be replaced.
        IndexLockedError: another process is writing.
    """
    files.make_folder(folder)
    with locked(folder):
        try:
            yield check_free(folder, replace=replace)
        except BaseException:
            if {path.name for path in folder.iterdir()} <= _BEFORE_A_SEGMENT:
                with suppress(StoredIndexError):  # what went wrong first is what to tell
                    _discard(folder)
            raise


def rename(name: str, new_name: str) -> None:
    """Give an index another name.

    Raises:
        IndexNotFoundError: there is none of the old name.
        ConfigError: the new name is taken or can't be.
    """
    folder, target = existing(name), folder_of(new_name)
    if target.exists():
        raise ConfigError(f'An index "{new_name}" exists already. Choose another name, or delete it first.')
    with locked(folder):
        files.move(folder, target)


def delete(name: str) -> None:
    """Remove an index: at once out of sight, then file by file.

    Raises:
        IndexNotFoundError: there is none of that name.
    """
    folder = existing(name)
    with locked(folder):
        _discard(folder)


def _discard(folder: Path) -> None:
    grave = folder.with_name(f".deleted-{folder.name}-{uuid4().hex[:8]}")
    files.move(folder, grave)
    for path in sorted(folder.parent.glob(f".deleted-{folder.name}-????????")):  # those of killed deletions, too
        files.remove(path)


def verify(name: str) -> list[str]:
    """Check every byte of an index against its checksums; returns one sentence a fault, none for a sound index.

    Raises:
        IndexNotFoundError: there is none of that name.
    """
    return faults(existing(name))


def faults(folder: Path) -> list[str]:
    """What is wrong with the files of the index in `folder`: those of the newest generation and of the one before."""
    while True:
        try:
            newest = current(folder)
            problems = _faults(folder, newest)
            # Where a writer went on meanwhile, files may be gone because nothing needs them any more.
            if not problems or current(folder) == newest:
                return problems
        except IndexDamagedError as error:
            return [str(error)]


def _faults(folder: Path, newest: Generation) -> list[str]:
    problems, generations = [], [newest]
    try:
        generations = kept(folder, newest)
    except IndexDamagedError as error:
        problems.append(str(error))
    stamps = {name: stamp for one in reversed(generations) for name, stamp in one.all_files().items()}
    holders = {name: segment for segment in newest.segments for name, _ in segment.all_files()}
    for name, stamp in progress.track(sorted(stamps.items()), "Verifying", total=len(stamps), unit="files"):
        if not still_is(folder / name, stamp):
            problems.append(f"{folder / name} is damaged or missing. {_lost(name, holders.get(name), newest)}")
    return problems


def _lost(name: str, segment: SegmentStamp | None, newest: Generation) -> str:
    if segment is not None:
        return f"It holds {segment.live_documents:,} of {counted(newest.documents, 'document')}."
    if newest.codec and newest.codec.name == name:
        return "All vectors need it."
    return f"Only generation {newest.number - 1} needs it, which is kept for readers that still have it open."


def check_free(folder: Path, *, replace: bool) -> int:
    """The number of the next generation.

    Raises:
        ConfigError: a finished index of that name exists and may not be replaced.
    """
    if not (folder / CURRENT).exists():
        return 1
    if not replace:
        raise ConfigError(
            f'Index "{folder.name}" exists already. Replace it with --replace (from Python, replace=True), or choose '
            "another name."
        )
    try:
        return current(folder).number + 1
    except IndexDamagedError:
        numbers = [int(path.stem.removeprefix("generation-")) for path in folder.glob("generation-*.json")]
        return max(numbers, default=0) + 1
