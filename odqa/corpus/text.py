"""Plain text files."""

from __future__ import annotations

from pathlib import Path

from odqa.corpus.compose import stem
from odqa.corpus.streams import lines
from odqa.types import Document


def read(path: Path, name: str) -> Document:
    """A text file as one document, every character as it stands."""
    return Document(name, "".join(lines(path)), stem(name), {"path": name})
