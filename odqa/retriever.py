"""The retriever: passages for questions, found by vectors, by terms, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.embedder import Embedder
from odqa.index import Index
from odqa.index.terms import Search, with_ties
from odqa.recipes import Fusion, Mode, RetrieverRecipe
from odqa.types import Hit

_RRF_K = 60


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of an index that may answer a question, int64 (candidates,), and their scores, float64, likewise."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    dense: NDArray[np.float64] | None
    sparse: NDArray[np.float64] | None


class Retriever:
    """Finds the passages of an index that may answer a question."""

    def __init__(
        self,
        index: Index,
        recipe: RetrieverRecipe | None = None,
        *,
        embedder: Embedder | None = None,
        device: str | None = None,
    ) -> None:
        """Join an index and the embedder that built it (loaded here, on `device`, where None).

        Raises:
            IndexMismatchError: the index was built with another embedder.
            ModelError: the embedder can't be loaded.
            ConfigError: the recipe asks for a GPU that faiss can't find or the index can't use.
        """
        self.index = index
        self.recipe = RetrieverRecipe() if recipe is None else recipe
        self.embedder = embedder
        if self.recipe.mode is not Mode.SPARSE:
            self.embedder = Embedder(index.generation.embedder.name, device=device) if embedder is None else embedder
            index.check_embedder(self.embedder)
        if self.recipe.gpu:
            index.merge(gpu=True)

    @property
    def settings(self) -> dict[str, Any]:
        """What its scores hang on: settings of the recipe, and the embedder's fingerprint where one is used."""
        found = self.recipe.model_dump(mode="json", exclude={"top_k", "candidates", "gpu"})
        named = {} if self.recipe.mode is Mode.SPARSE else {"embedder": self.index.generation.embedder.fingerprint}
        return found | named

    def retrieve(
        self, questions: Sequence[str], *, top_k: int | None = None, where: str | None = None
    ) -> list[list[Hit]]:
        """The best `top_k` passages for each question, best first, of documents that meet the filter `where`.

        In a hybrid search both scores are computed for every candidate of either side and added with the recipe's
        weights: a passage's score never depends on what else was found (unless the recipe asks for `rrf`).

        Raises:
            ConfigError: the filter is wrong.
        """
        count = self.recipe.top_k if top_k is None else top_k
        found = self.candidates(questions, depth=max(count, self.recipe.candidates), where=where)
        return [self._hits(candidates, count) for candidates in found]

    def candidates(
        self, questions: Sequence[str], *, depth: int | None = None, where: str | None = None
    ) -> list[Candidates]:
        """For each question the best `depth` rows of either side, united and scored, in no order.

        Raises:
            ConfigError: the filter is wrong.
        """
        depth = self.recipe.candidates if depth is None else depth
        vectors = self._vectors(questions)
        if not len(vectors):
            empty = np.empty(0, np.int64)
            return [self._scored(None, empty, *self._terms(question, depth, where), depth) for question in questions]
        near = _beside().submit(self.index.nearest, vectors, depth, where=where)
        terms = [self._terms(question, depth, where) for question in questions]
        found = zip(vectors, near.result(), terms, strict=True)
        return [self._scored(vector, rows, *sparse, depth) for vector, rows, sparse in found]

    def _vectors(self, questions: Sequence[str]) -> NDArray[np.float32]:
        if self.embedder is None or self.recipe.mode is Mode.SPARSE:
            return np.empty((0, 0), np.float32)
        return self.embedder.embed_questions(questions)

    def _terms(self, question: str, depth: int, where: str | None) -> tuple[Search | None, NDArray[np.int64]]:
        """The question's terms looked up, and the rows of their largest scores."""
        if self.recipe.mode is Mode.DENSE:
            return None, np.empty(0, np.int64)
        search = self.index.sparse(question)
        return search, search.largest(depth, None if where is None else self.index.rows(where))

    def _scored(
        self,
        vector: NDArray[np.float32] | None,
        near: NDArray[np.int64],
        search: Search | None,
        largest: NDArray[np.int64],
        depth: int,
    ) -> Candidates:
        rows = near if search is None else np.union1d(near, largest)
        sparse = None if search is None else search.scores(rows)
        dense = None if vector is None else self.index.dense_scores(vector, rows)
        return Candidates(rows, self._fuse(dense, sparse, depth), dense, sparse)

    def _hits(self, found: Candidates, count: int) -> list[Hit]:
        hits = [
            Hit(
                self.index.passage(int(found.rows[at])),
                float(found.scores[at]),
                self.recipe.relevance_slope * float(found.scores[at]) + self.recipe.relevance_intercept,
                None if found.dense is None else float(found.dense[at]),
                None if found.sparse is None else float(found.sparse[at]),
            )
            for at in with_ties(found.scores, count)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.passage.document_id, hit.passage.start))[:count]

    def _fuse(
        self, dense: NDArray[np.float64] | None, sparse: NDArray[np.float64] | None, depth: int
    ) -> NDArray[np.float64]:
        if dense is None or sparse is None:
            return next(side for side in (dense, sparse, np.empty(0)) if side is not None)
        if self.recipe.fusion is Fusion.RRF:
            return _reciprocal_ranks(dense, depth) + np.where(sparse > 0, _reciprocal_ranks(sparse, depth), 0.0)
        return self.recipe.dense_weight * dense + self.recipe.sparse_weight * sparse


@cache
def _beside() -> ThreadPoolExecutor:
    """Threads that search vectors while terms are looked up: FAISS leaves the interpreter free meanwhile."""
    return ThreadPoolExecutor(thread_name_prefix="odqa-vectors")


def _reciprocal_ranks(scores: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """1 / (60 + rank) for the first `depth`, 0 beyond; equal scores have the best of their ranks.

    Source: Cormack et al. 2009, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods".
    """
    ranks = 1 + np.searchsorted(np.sort(-scores), -scores)
    return np.where(ranks <= depth, 1 / (_RRF_K + ranks), 0.0)
