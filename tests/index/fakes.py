"""A hashing embedder and a plain splitter that need no model, and searches by brute force to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.index import Index, change, files, store
from odqa.index import build as building
from odqa.index.build import BuildReport
from odqa.recipes import Card, RetrieverRecipe, TermsCard
from odqa.retriever import Retriever
from odqa.types import Document, Passage

CARD = Card(sentences=False, terms=TermsCard(stemmer="", stop_words=""))
WORDS = [f"w{number}" for number in range(60)]


def vector(text: str, dimension: int = 16) -> NDArray[np.float32]:
    """A vector that the text alone decides, not of length 1."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return np.random.default_rng(seed).normal(size=dimension).astype(np.float32)


@dataclass
class HashEmbedder:
    """Vectors by hash; keeps the texts that it was given."""

    name: str = "hash"
    fingerprint: str = "hash-1"
    dimension: int = 16
    seen: list[str] = field(default_factory=list)

    def embed_passages(self, passages: list[str], *, description: str = "") -> NDArray[np.float32]:
        assert description
        self.seen += passages
        return np.stack([vector(text, self.dimension) for text in passages])

    def embed_sentences(
        self, passages: list[str], *, description: str = ""
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Every word is a sentence."""
        vectors = self.embed_passages(passages, description=description)
        return vectors, [np.stack([vector(word, self.dimension) for word in text.split()]) for text in passages]

    def embed_questions(self, questions: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([vector(text, self.dimension) for text in questions])


class LineSplitter:
    """Each line that holds more than white space is a passage."""

    def split(self, document: Document) -> Iterable[Passage]:
        at = 0
        for line in document.text.split("\n"):
            if line.strip():
                yield Passage(document.id, line, at, document.title, document.metadata, document.sections)
            at += len(line) + 1


def build(name: str, documents: Iterable[Document], card: Card = CARD, **options: Any) -> BuildReport:
    """Build in the home with the fakes; a new generation where there is one."""
    folder = store.folder_of(name)
    files.make_folder(folder)
    options = {"embedder": HashEmbedder(), "splitter": LineSplitter(), **options}
    number = store.check_free(folder, replace=True)
    return building.build(folder, documents, card=card, number=number, **options)


def add(name: str, documents: Iterable[Document], **options: Any) -> change.ChangeReport:
    """Add with the fakes."""
    options = {"embedder": HashEmbedder(), "splitter": LineSplitter(), **options}
    return change.add(store.folder_of(name), documents, **options)


def make_documents(count: int, *, seed: int = 0, lines: int = 3) -> list[Document]:
    """Documents of a few lines of made-up words, with titles and metadata of every type."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        text = "\n".join(
            " ".join(chance.choice(WORDS, chance.integers(1, 12))) for _ in range(chance.integers(1, lines + 1))
        )
        metadata = {"year": 1980 + number % 30, "open": number % 2 == 0, "score": number / 4, "note": None}
        found.append(Document(f"d{number}", text, f"Title {number % 5}", metadata))
    return found


def passages_of(documents: Iterable[Document]) -> list[Passage]:
    """What the splitter makes of all documents."""
    return [passage for document in documents for passage in LineSplitter().split(document)]


def cosines(texts: Sequence[str], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each text's vector and the query, in float64."""
    stored = np.stack([vector(text) for text in texts]).astype(np.float64)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(query.astype(np.float64))
    return stored @ query.astype(np.float64) / np.where(lengths == 0, 1, lengths)


def key(passage: Passage) -> tuple[str, int, str]:
    """What tells one passage from another."""
    return passage.document_id, passage.start, passage.text


def retriever(index: Index, **recipe: Any) -> Retriever:
    """A retriever over an index of the fakes."""
    return Retriever(index, RetrieverRecipe(**recipe), embedder=HashEmbedder())  # type: ignore[arg-type]


def files_of(folder: Path) -> list[Path]:
    """Every file of an index but its lock, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != store.LOCK)
