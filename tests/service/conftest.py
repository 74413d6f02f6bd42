"""One home, one index and one server for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from odqa.embedder import Embedder
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Retriever
from odqa.service import create_app
from odqa.service.host import Loaded
from odqa.types import Document
from tests.service.server import Served, serving


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, reader: Reader, documents: list[Document]
) -> Loaded:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODQA_HOME", str(tmp_path_factory.mktemp("served")))
        Index.build("tiny", documents, embedder=embedder)
        index = Index.open("tiny")
    pipeline = Pipeline(Retriever(index, RetrieverRecipe(top_k=3), embedder=embedder), reader, name="tiny")
    return Loaded(pipeline, lambda: Embedder(embedder.name, device="cpu"))


@pytest.fixture(scope="module")
def served(loaded: Loaded) -> Iterator[Served]:
    with serving(create_app(lambda: loaded)) as one:
        yield one
