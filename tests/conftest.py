"""Tiny seeded models that make every test run offline in seconds, and a home of its own for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from odqa.embedder import Embedder
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe, RetrieverRecipe
from odqa.retriever import Retriever
from odqa.types import Document, Section
from tests.tiny import TEXTS, make_embedder, make_reader


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ODQA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ODQA_READER", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def embedder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_embedder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="session")
def embedder(embedder_folder: Path) -> Embedder:
    return Embedder(embedder_folder, device="cpu")


@pytest.fixture(scope="session")
def reader(reader_folder: Path) -> Reader:
    recipe = ReaderRecipe(model=str(reader_folder), max_length=48, doc_stride=16, max_answer_length=8)
    return Reader(recipe, device="cpu")


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return [
        Document(f"d{number}", text, title=f"Title {number}", sections=(Section(0, number + 1, "Top"),))
        for number, text in enumerate(TEXTS)
    ]


@pytest.fixture
def build(embedder: Embedder, documents: list[Document]) -> Callable[..., Index]:
    def make(name: str = "tiny", given: list[Document] | None = None, **options: object) -> Index:
        Index.build(name, documents if given is None else given, embedder=embedder, **options)
        return Index.open(name)

    return make


@pytest.fixture
def pipeline(build: Callable[..., Index], embedder: Embedder, reader: Reader) -> Pipeline:
    return Pipeline(Retriever(build(), RetrieverRecipe(top_k=3), embedder=embedder), reader, name="tiny")
