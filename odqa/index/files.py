"""The one writer: every byte of an index, Arrow's and FAISS's too, reaches the disk through here."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict

from odqa.errors import StoredIndexError

_BLOCK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}


class FileStamp(BaseModel):
    """What a written file must still be: its size in bytes and its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int
    sha256: str


class Disk:
    """All that odqa does to a disk, one method an operation; tests put a failing one in its place."""

    def create(self, path: Path) -> BinaryIO:
        """Open a new file."""
        return cast(BinaryIO, path.open("xb", buffering=0))

    def write(self, file: BinaryIO, data: memoryview) -> None:
        """Append all of `data`."""
        while data:
            data = data[file.write(data) :]

    def sync(self, file: BinaryIO) -> None:
        """Bring what was written to the disk."""
        os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Bring a folder's entries to the disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, in one step."""
        source.replace(target)

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        path.mkdir(exist_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file or an empty folder."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


disk = Disk()


class HashedFile:
    """A file being written; it counts and hashes what passes, in large blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending = bytearray()
        self._digest = hashlib.sha256()
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Append `data` whole (bytes or another buffer) and return its length in bytes."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if len(view) >= _BLOCK:
            self.finish()
            self._pass_on(view)
        else:
            self._pending += view
            if len(self._pending) >= _BLOCK:
                self.finish()
        return len(view)

    def finish(self) -> None:
        """Pass on what was held back."""
        pending, self._pending = self._pending, bytearray()
        if pending:
            self._pass_on(memoryview(pending))

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Do nothing: `create` brings all to the disk at its end."""

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    @property
    def stamp(self) -> FileStamp:
        """Size and SHA-256 of all that was written."""
        self.finish()
        return FileStamp(size=self._size, sha256=self._digest.hexdigest())

    def _pass_on(self, view: memoryview) -> None:
        self._digest.update(view)
        disk.write(self._file, view)


@contextmanager
def create(path: Path) -> Iterator[HashedFile]:
    """A new file, on the disk when the block ends.

    Raises:
        StoredIndexError: no space, no right, a read-only disk; as all functions here.
    """
    with _refusals(path), disk.create(path) as raw:
        file = HashedFile(raw)
        yield file
        file.finish()
        disk.sync(raw)


def read(path: Path) -> bytes:
    """What a file holds.

    Raises:
        FileNotFoundError: there is none.
        StoredIndexError: it can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoredIndexError(f"Can't read {path}: {os.strerror(error.errno or 0)}.") from error


def publish(path: Path, data: bytes) -> FileStamp:
    """Put `data` at `path` in one step: readers see the old file or the new one, whole."""
    draft = path.with_name(f".{path.name}.draft")
    with _refusals(path):
        disk.remove(draft)
        with create(draft) as file:
            file.write(data)
        disk.rename(draft, path)
        disk.sync_folder(path.parent)
    return file.stamp


def make_folder(path: Path) -> None:
    """A folder, and those above it, each on the disk as its parent's entry."""
    if not path.is_dir():
        make_folder(path.parent)
        with _refusals(path):
            disk.make_folder(path)
            disk.sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make new entries in `path` durable."""
    with _refusals(path):
        disk.sync_folder(path)


def move(source: Path, target: Path) -> None:
    """Rename within one folder, on the disk when it returns."""
    with _refusals(source):
        disk.rename(source, target)
        disk.sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it, that nothing refers to any more."""
    with _refusals(path):
        if path.is_dir() and not path.is_symlink():
            for inside in sorted(path.iterdir()):
                remove(inside)
        disk.remove(path)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> StoredIndexError:
    """What the system refused, as one sentence and what to do about it."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    free = error.errno in _FULL
    advice = "Free some space, or set" if free else "Choose a folder that you may write to, or set"
    place = path if error.filename is None else error.filename
    return StoredIndexError(
        f"Can't write {place}: {reason}. The index was left as it was. {advice} ODQA_HOME to a folder elsewhere."
    )
