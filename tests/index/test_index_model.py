"""Random changes and searches against a plain dictionary and brute force."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from odqa.errors import CorpusError
from odqa.index import Index, change, store
from odqa.types import Document
from tests.index import fakes
from tests.index.test_index_search import oracle

IDS = st.sampled_from([f"d{number}" for number in range(8)])
TEXTS = st.lists(
    st.lists(st.sampled_from(fakes.WORDS[:12]), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=3
).map("\n".join)
BATCHES = st.dictionaries(IDS, st.tuples(TEXTS, st.integers(0, 3)), min_size=1, max_size=4)


class IndexModel(RuleBasedStateMachine):
    """The index next to a dictionary of documents."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp()
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("ODQA_HOME", self.home)
        self.patch.setattr(change, "MOST_SMALL", 3)
        self.documents: dict[str, Document] = {}

    @property
    def folder(self) -> Path:
        return store.folder_of("made")

    @initialize(batch=BATCHES, factory=st.sampled_from(["Flat", "SQfp16", "HNSW4"]), cut=st.integers(1, 9))
    def build(self, batch: dict, factory: str, cut: int) -> None:
        given = self._documents(batch)
        fakes.build("made", given, fakes.CARD.model_copy(update={"factory": factory}), segment_passages=cut)
        self.index = Index.open("made")

    def _documents(self, batch: dict) -> list[Document]:
        made = [Document(name, text, f"Title {year}", {"year": year}) for name, (text, year) in batch.items()]
        self.documents |= {document.id: document for document in made}
        return made

    @rule(batch=BATCHES, cut=st.integers(1, 9))
    def add(self, batch: dict, cut: int) -> None:
        fakes.add("made", self._documents(batch), segment_passages=cut)
        self.index = self.index.refreshed()

    @rule()
    def add_nothing(self) -> None:
        with pytest.raises(CorpusError, match="holds no text"):
            fakes.add("made", [Document("empty", " ")])

    @rule(ids=st.lists(IDS, max_size=3))
    def remove_ids(self, ids: list[str]) -> None:
        change.remove(self.folder, ids=ids)
        self.documents = {name: one for name, one in self.documents.items() if name not in ids}
        self.index = Index.open("made")

    @rule(year=st.integers(0, 3))
    def remove_where(self, year: int) -> None:
        change.remove(self.folder, condition=f"year = {year}" if self.documents else 'id = "none"')
        self.documents = {name: one for name, one in self.documents.items() if one.metadata["year"] != year}
        self.index = Index.open("made")

    @rule()
    def compact(self) -> None:
        change.compact(self.folder)
        self.index = self.index.refreshed()

    @rule(question=TEXTS, year=st.none() | st.integers(0, 3))
    def search(self, question: str, year: int | None) -> None:
        passages = list(self.index.passages())
        condition = None if year is None or not passages else f"year <= {year}"
        rows = np.flatnonzero(self.index.rows(condition))
        kept = [one for one in passages if condition is None or one.metadata["year"] <= year]
        assert [fakes.key(self.index.passage(row)) for row in rows] == [fakes.key(one) for one in kept]
        if not kept:
            return
        query = fakes.vector(question)
        exact = self.index.generation.card.factory != "SQfp16"
        truth = fakes.cosines([one.text for one in kept], query)
        np.testing.assert_allclose(self.index.dense_scores(query, rows), truth, atol=1e-6 if exact else 1e-2)
        near = self.index.nearest(query[None], 3, where=condition)[0]
        best = np.sort(self.index.dense_scores(query, rows))[::-1][:3]
        np.testing.assert_allclose(np.sort(self.index.dense_scores(query, near))[::-1][: len(best)], best, atol=1e-6)
        everywhere = oracle(passages, fakes.CARD.terms, question)
        live = np.flatnonzero(self.index.rows())
        search = self.index.sparse(question)
        np.testing.assert_allclose(search.scores(live) * search.reach, everywhere, atol=1e-6)

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        assert {one.id: one for one in self.index.documents()} == self.documents
        assert self.index.generation.documents == len(self.documents)
        assert sorted(map(fakes.key, self.index.passages())) == sorted(
            map(fakes.key, fakes.passages_of(self.documents.values()))
        )

    def teardown(self) -> None:
        assert store.faults(self.folder) == []
        self.patch.undo()
        shutil.rmtree(self.home)


TestIndexModel = IndexModel.TestCase
TestIndexModel.settings = settings(deadline=None, max_examples=12, stateful_step_count=8)
