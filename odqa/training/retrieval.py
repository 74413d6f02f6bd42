"""Figures of an embedder on held-out questions: is the gold paragraph found among all held-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from odqa.corpus.squad import shown_title
from odqa.embedder import Embedder
from odqa.evaluation.dataset import Question
from odqa.evaluation.ranking import CUTS, Ranking, evaluate
from odqa.index.terms import Analyzer, Bm25, searched_text
from odqa.recipes import Card, Mode, RetrieverRecipe

MEASURES = ("recall@1", "recall@10", "mrr@100")
CHOOSES = "fused_mrr@100"
"""The figure that chooses the checkpoint."""

_WEIGHTS = np.arange(61) / 20
"""Of BM25, where that of the cosine is 1."""


def terms_weight(recipe: RetrieverRecipe) -> float:
    """What BM25 is multiplied by in a pipeline's score."""
    return 0.0 if recipe.mode is Mode.DENSE else recipe.sparse_weight


class Haystack:
    """Held-out paragraphs under an index's card, to be ranked as a recipe's pipeline ranks them."""

    def __init__(self, questions: Sequence[Question], recipe: RetrieverRecipe, card: Card) -> None:
        """Take the distinct paragraphs of the questions, as an index with this card holds them."""
        self.rows = {text: row for row, text in enumerate(dict.fromkeys(one.context for one in questions))}
        self.recipe = recipe
        self.sentences = card.sentences
        titles = {one.context: shown_title(one.title) for one in questions}
        texts = [searched_text(titles[text], text) for text in self.rows]
        self._bm25 = Bm25([Analyzer(card.terms).postings(texts)], card.terms)

    def __len__(self) -> int:
        """How many paragraphs there are."""
        return len(self.rows)

    def embedded(self, embedder: Embedder) -> EmbeddedHaystack:
        """Embed all paragraphs, once for all figures."""
        return EmbeddedHaystack(self, embedder)

    def sparse(self, questions: Sequence[Question]) -> NDArray[np.float64]:
        """BM25 of each question and each paragraph."""
        rows = np.arange(len(self))
        return np.stack([self._bm25.search(one.question).scores(rows) for one in questions])


class EmbeddedHaystack:
    """A haystack ranked for a question by cosine, and by the sum that the recipe's pipeline ranks by."""

    def __init__(self, haystack: Haystack, embedder: Embedder) -> None:
        """Take the vectors of each paragraph, its own one or those of its sentences, as the index scores them."""
        self._haystack, self._embedder = haystack, embedder
        texts = list(haystack.rows)
        vectors = (
            embedder.embed_sentences(texts)[1] if haystack.sentences else embedder.embed_passages(texts)[:, np.newaxis]
        )
        self._vectors = np.concatenate(vectors)
        self._begins = np.cumsum([0, *(len(one) for one in vectors[:-1])])

    def figures(self, questions: Sequence[Question]) -> dict[str, float]:
        """`dense_` and `fused_` with each of the measures, in [0, 1]; all of the paragraphs are ranked."""
        recipe, dense = self._haystack.recipe, self._dense(questions)
        fused = recipe.dense_weight * dense + terms_weight(recipe) * self._haystack.sparse(questions)
        found = {"dense": self._measured(dense, questions), "fused": self._measured(fused, questions)}
        return {f"{side}_{name}": found[side][name] for side in found for name in MEASURES}

    def fitted(self, questions: Sequence[Question]) -> dict[str, float]:
        """What a recipe's `[retriever]` should say beside this embedder, fitted on questions that trained nothing.

        `sparse_weight`, beside a `dense_weight` of 1, is for the mean reciprocal rank of the gold paragraph, and
        `relevance_slope` and `relevance_intercept` are a logistic regression of whether one of the best is it.
        """
        recipe = self._haystack.recipe
        dense = self._dense(questions).astype(np.float64)
        sparse = self._haystack.sparse(questions)
        gold = np.array([self._haystack.rows[one.context] for one in questions])
        weights = _WEIGHTS[:1] if recipe.mode is Mode.DENSE else _WEIGHTS
        weight = max(weights.tolist(), key=lambda weight: mrr(dense + weight * sparse, gold))
        slope, intercept = relevance(dense + weight * sparse, gold, recipe.top_k)
        found = {"sparse_weight": weight, "relevance_slope": slope, "relevance_intercept": intercept}
        return {"dense_weight": 1.0} | {name: round(value, 2) for name, value in found.items()}

    def _dense(self, questions: Sequence[Question]) -> NDArray[np.float32]:
        """The cosine of each question and the nearest vector of each paragraph."""
        asked = self._embedder.embed_questions([one.question for one in questions])
        return np.maximum.reduceat(asked @ self._vectors.T, self._begins, axis=1)

    def _measured(self, scores: NDArray[np.floating], questions: Sequence[Question]) -> Mapping[str, float]:
        texts = list(self._haystack.rows)
        orders = np.argsort(-scores, axis=1, kind="stable")[:, : max(CUTS)].tolist()
        pairs = zip(orders, questions, strict=True)
        return evaluate([Ranking([texts[row] for row in order], {one.context}) for order, one in pairs])


def mrr(scores: NDArray[np.float64], gold: NDArray[np.int64]) -> float:
    """Mean reciprocal rank of the paragraphs at `gold`, int64 (questions,), by scores (questions, paragraphs)."""
    best = np.take_along_axis(scores, gold[:, None], axis=1)
    return float(np.mean(1 / (1 + (scores > best).sum(axis=1))))


def relevance(scores: NDArray[np.float64], gold: NDArray[np.int64], top_k: int) -> tuple[float, float]:
    """Slope and intercept of the log-odds that one of the `top_k` best is the gold paragraph."""
    from sklearn.linear_model import LogisticRegression

    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    found = (best == gold[:, None]).ravel()
    if found.all() or not found.any():
        return 0.0, 0.0
    kept = np.take_along_axis(scores, best, axis=1).reshape(-1, 1)
    fitted = LogisticRegression(C=1e4, max_iter=2_000).fit(kept, found)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
