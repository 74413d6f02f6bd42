"""Bytes and lines of source files; errors name the file and the place."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from odqa.errors import CorpusError


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it ends in `.gz`, after a byte order mark.

    Raises:
        CorpusError: the file can't be read or unpacked.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            if file.peek(3).startswith(codecs.BOM_UTF8):
                file.read(3)
            yield cast(IO[bytes], file)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"Can't read {path}: {one_line(error)}.") from error


def lines(path: Path) -> Iterator[str]:
    """The file's lines, cut after LF alone and with their ends as they stand.

    Raises:
        CorpusError: the file can't be read or is not UTF-8.
    """
    with opened(path) as file:
        offset = file.tell() if file.seekable() else 0
        for line in file:
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path, line[error.start], offset + error.start) from None
            offset += len(line)


def one_line(error: object) -> str:
    """An error's words on one line, without a full stop."""
    return " ".join(str(error).split()).rstrip(".")


def _not_utf8(path: Path, byte: int, offset: int) -> CorpusError:
    return CorpusError(
        f"{path} is not UTF-8: byte 0x{byte:02X} at offset {offset}. "
        f"Convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
    )
