"""API keys: kept as SHA-256 hashes, compared in constant time, with the right to read or also to write."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from odqa.errors import ConfigError

ENVIRONMENT = "ODQA_API_KEYS"
_LINE = re.compile(r"(?P<name>[\w.-]+):(?P<right>read|write):(?P<digest>[0-9a-f]{64})")


class Right(StrEnum):
    """What a key allows; who may write may read."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known by its hash."""

    name: str
    right: Right
    digest: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a service; without any, all who reach it may ask."""

    known: tuple[Key, ...] = ()

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """Read `NAME:RIGHT:SHA256` lines from a file and from `$ODQA_API_KEYS`, there also parted by commas.

        Raises:
            ConfigError: the file can't be read or a line is wrong.
        """
        try:
            lines = [] if file is None else file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Can't read the keys in {file}: {error}") from None
        found = _parse(lines, str(file)) + _parse(os.environ.get(ENVIRONMENT, "").split(","), f"${ENVIRONMENT}")
        if file is not None and not found:
            raise ConfigError(f"{file} holds no key. Write NAME:read:SHA256 or NAME:write:SHA256 lines into it.")
        return cls(tuple(found))

    def find(self, presented: str) -> Key | None:
        """The key that was presented; every known one is compared, so that the time tells nothing."""
        digest = digest_of(presented)
        matches = [hmac.compare_digest(key.digest, digest) for key in self.known]
        return next((key for key, same in zip(self.known, matches, strict=True) if same), None)

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self.known)


def digest_of(key: str) -> str:
    """The SHA-256 hash under which a key is kept, in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _parse(lines: Iterable[str], where: str) -> list[Key]:
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(f"{where}, entry {number}: expected NAME:read:SHA256 or NAME:write:SHA256.")
        keys.append(Key(match["name"], Right(match["right"]), match["digest"]))
    return keys
