"""Hard negatives: passages that look as if they were the one asked about, and are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from odqa import progress
from odqa.embedder import Embedder
from odqa.evaluation.dataset import Question
from odqa.recipes import Negatives, RetrieverTrainingRecipe, TermsCard
from odqa.text import normalize_answer
from odqa.training.data import lacks_answer
from odqa.training.pairs import Pairs, bm25

DEPTH = 50
"""Passages of each ranking that are looked at; a question with fewer negatives among them has fewer."""

_BATCH = 256


def mine(pairs: Pairs, recipe: RetrieverTrainingRecipe, terms: TermsCard) -> NDArray[np.int32]:
    """The hard negatives of each pair by passage, best first: int32 (pairs, `hard_negatives`), -1 where there is none.

    A negative is never the gold passage, nor another text of its document, nor one that holds an answer. Nobody knows
    the answers of an unanswerable question, which another passage of the article may well hold: its negatives come
    from other articles. Where both rankings are asked they take turns, and the first turn goes from one to the other.
    """
    found = np.full((len(pairs), recipe.hard_negatives), -1, np.int32)
    if not recipe.hard_negatives:
        return found
    check = _Check(pairs.passages, [f" {normalize_answer(one.context)} " for one in pairs.passages])
    rankings = zip(*_rankings(pairs, recipe, terms), strict=True)
    with progress.bar("Hard negatives", total=len(pairs), unit="questions") as tick:
        for row, (question, ranked) in enumerate(zip(pairs.questions, rankings, strict=True)):
            turns = ranked if row % 2 == 0 else ranked[::-1]
            merged = (number for number in chain.from_iterable(zip_longest(*turns)) if number is not None)
            fit = (number for number in dict.fromkeys(merged) if check.is_negative(question, number))
            best = list(islice(fit, recipe.hard_negatives))
            found[row, : len(best)] = best
            tick.advance()
    return found


@dataclass(frozen=True, slots=True)
class _Check:
    """Passages, and their normalised words with a space at both ends."""

    passages: Sequence[Question]
    words: Sequence[str]

    def is_negative(self, question: Question, number: int) -> bool:
        passage = self.passages[number]
        if passage.context == question.context or passage.document_id == question.document_id:
            return False
        if question.is_impossible:
            return passage.title != question.title
        return lacks_answer(self.words[number], question)


def _rankings(pairs: Pairs, recipe: RetrieverTrainingRecipe, terms: TermsCard) -> list[Iterator[list[int]]]:
    """One stream or two of each question's best passages."""
    sides = []
    if recipe.negatives_from is not Negatives.DENSE:
        sides.append(_by_terms(pairs, terms))
    if recipe.negatives_from is not Negatives.BM25:
        embedder = Embedder(recipe.base)
        vectors = embedder.embed_passages([one.context for one in pairs.passages], description="Embedding passages")
        sides.append(_by_vectors(pairs, embedder, vectors))
    return sides


def _by_terms(pairs: Pairs, terms: TermsCard) -> Iterator[list[int]]:
    index = bm25(pairs, terms)
    for one in pairs.questions:
        search = index.search(one.question)
        rows = search.largest(DEPTH)
        yield rows[_best(search.scores(rows))].tolist()


def _by_vectors(pairs: Pairs, embedder: Embedder, vectors: NDArray[np.float32]) -> Iterator[list[int]]:
    for begin in range(0, len(pairs), _BATCH):
        asked = embedder.embed_questions([one.question for one in pairs.questions[begin : begin + _BATCH]])
        yield from (_best(scores).tolist() for scores in asked @ vectors.T)


def _best(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows of the `DEPTH` largest scores, best first."""
    count = min(DEPTH, len(scores))
    if not count:
        return np.empty(0, dtype=np.int64)
    rows = np.argpartition(-scores, count - 1)[:count]
    return rows[np.lexsort((rows, -scores[rows]))]
