"""The one writer: every byte of an index, Arrow's and FAISS's too, reaches the disk through here."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel, ConfigDict

from odqa.errors import StoredIndexError


class FileStamp(BaseModel):
    """What a written file must still be: its size in bytes and its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int
    sha256: str


class HashedFile:
    """A file being written; it counts and hashes what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Append `data` whole (bytes or another buffer) and return its length in bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Hand buffered bytes to the system."""
        self._file.flush()

    def close(self) -> None:
        """Take no more; `create` brings what was written to the disk."""
        self.closed = True

    @property
    def stamp(self) -> FileStamp:
        """Size and SHA-256 of all that was written."""
        return FileStamp(size=self._size, sha256=self._digest.hexdigest())


@contextmanager
def create(path: Path) -> Iterator[HashedFile]:
    """A new file, on the disk (fsync) when the block ends."""
    with path.open("xb") as raw:
        yield HashedFile(cast(BinaryIO, raw))
        raw.flush()
        os.fsync(raw.fileno())


def publish(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step: readers see the old file or the new one, whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with create(draft) as file:
        file.write(data)
    draft.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """A folder whose entry in its parent is on the disk."""
    path.mkdir(parents=True, exist_ok=True)
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename within one folder, on the disk when it returns."""
    source.rename(target)
    sync_folder(target.parent)


def remove_tree(path: Path) -> None:
    """Remove a file or folder that nothing refers to any more."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make renames and new entries in `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(name: str, folder: Path) -> Iterator[None]:
    """Turn the system's refusals into one sentence about index `name`.

    Raises:
        StoredIndexError: no space, no right, a read-only disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = os.strerror(error.errno)
        advice = {
            errno.ENOSPC: "Free some space, or set ODQA_HOME to a folder on another disk.",
            errno.EDQUOT: "Free some space, or set ODQA_HOME to a folder on another disk.",
        }.get(error.errno, "Choose a folder that you may write to with ODQA_HOME.")
        place = error.filename if error.filename is not None else folder
        raise StoredIndexError(
            f'Index "{name}" was left as it was: can\'t write {place}: {reason}. {advice}'
        ) from error
