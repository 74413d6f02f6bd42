"""The pipeline: a question in, answers with their evidence out, or "no answer"."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

from odqa import recipes
from odqa.errors import ConfigError
from odqa.index import Index
from odqa.reader import Calibration, Choice, Reader, calibration, rank, result
from odqa.recipes import Pipeline as Recipe
from odqa.retriever import Retriever
from odqa.types import Hit, Reading, Result

DEFAULT = "default"
BATCH = 32
STRIDE = 2
"""Passages of a question that are read together before the next ones are thought about."""


class Pipeline:
    """A retriever over an index, and a reader."""

    def __init__(
        self, retriever: Retriever, reader: Reader, *, name: str = "", calibration: Calibration | None = None
    ) -> None:
        """Join the two; `name` is written into results. A recipe's own threshold goes before a calibration's."""
        self.retriever = retriever
        self.reader = reader
        self.name = name
        own = reader.recipe.null_threshold
        self.calibration = calibration if calibration is None or own is None else calibration.with_margin(own)
        self.null_threshold = reader.null_threshold if self.calibration is None else self.calibration.null_threshold

    @classmethod
    def load(cls, name: str = DEFAULT, *, index: str | None = None, device: str | None = None) -> Self:
        """Load a recipe by its name or `.toml` path, over its own index or another.

        Raises:
            ConfigError: the recipe can't be found or is wrong.
            StoredIndexError: the index can't be opened, or was built with another embedder.
            ModelError: a model can't be found or loaded.
        """
        recipe = recipes.load_pipeline(name)
        opened = Index.open(recipe.index if index is None else index)
        reader = Reader(reader_recipe(recipe), device=device)
        retriever = Retriever(opened, recipe.retriever, device=device)
        fitted = find_calibration(recipe, retriever, reader)
        return cls(retriever, reader, name=name, calibration=fitted)

    def over(self, index: Index) -> Self:
        """The same models, recipe and calibration over another index, or another generation of it.

        Raises:
            IndexMismatchError: the index was built with another embedder.
        """
        retriever = Retriever(index, self.retriever.recipe, embedder=self.retriever.embedder)
        return type(self)(retriever, self.reader, name=self.name, calibration=self.calibration)

    def answer(
        self,
        question: str,
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> Result:
        """Answer one question; see `answer_batch`."""
        return self.answer_batch(
            [question], top_k=top_k, n_best=n_best, abstain=abstain, max_risk=max_risk, where=where
        )[0]

    def answer_batch(
        self,
        questions: Sequence[str],
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> list[Result]:
        """Answer questions together: all windows of all their passages go through the reader at once.

        Args:
            questions: What is asked.
            top_k: Passages read for each question; the recipe's number where None.
            n_best: Answers kept for each question; the recipe's number where None.
            abstain: "threshold" drops answers that stand under the pipeline's null threshold; "never" always
                gives the best span.
            max_risk: Answer only with a probability of being wrong of at most this; overrides `abstain`.
            where: Ask only documents that meet this filter, such as `year >= 1990 and title = "Normans"`.

        Returns:
            One result for each question. Its timings are the seconds that the whole batch took.

        Raises:
            QuestionError: a question is empty or too long.
            ConfigError: an option has a value that can't be.
        """
        choice = Choice.of(self.reader.recipe.n_best if n_best is None else n_best, abstain, max_risk)
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be at least 1.")
        for question in questions:
            self.reader.check_question(question)
        begin = time.perf_counter()
        hits = self.retriever.retrieve(questions, top_k=top_k, where=where)
        retrieved = time.perf_counter()
        readings = self.read(questions, hits)
        timings = {"retrieve": retrieved - begin, "read": time.perf_counter() - retrieved}
        return [
            result(
                question,
                found,
                read,
                rank(found[: len(read)], read, self.null_threshold, choice, self.calibration),
                timings=timings,
                index=self.retriever.index.name,
                generation=self.retriever.index.generation.number,
                pipeline=self.name,
            )
            for question, found, read in zip(questions, hits, readings, strict=True)
        ]

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Reading]]:
        """Read the hits of each question from the first on, for as long as another may bring a better answer.

        That is so while its relevance and the calibration's `margin_bound` reach the best score so far. Without a
        bound all hits are read.
        """
        readings: list[list[Reading]] = [[] for _ in questions]
        bound, stride = self._bound_and_stride()
        while rows := [row for row, read in enumerate(readings) if may_improve(hits[row], read, bound)]:
            parts = {row: hits[row][len(readings[row]) :][:stride] for row in rows}
            found = iter(self.reader.read([(questions[row], hit.passage.text) for row in rows for hit in parts[row]]))
            for row, part in parts.items():
                readings[row] += islice(found, len(part))
        return readings

    def _bound_and_stride(self) -> tuple[float, int | None]:
        bound = None if self.calibration is None else self.calibration.margin_bound
        return (float("inf"), None) if bound is None else (bound, STRIDE)

    def answer_many(
        self,
        questions: Iterable[str],
        *,
        top_k: int | None = None,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
        where: str | None = None,
    ) -> Iterator[Result]:
        """Answer a stream of questions in batches, in order; see `answer_batch`."""
        stream = iter(questions)
        while batch := list(islice(stream, BATCH)):
            yield from self.answer_batch(
                batch, top_k=top_k, n_best=n_best, abstain=abstain, max_risk=max_risk, where=where
            )


def may_improve(hits: Sequence[Hit], read: Sequence[Reading], bound: float) -> bool:
    """Whether one of the hits after those that were read may bring an answer better than theirs.

    The first ones always may: what they hold tells how probable "no answer" is.
    """
    scores = (hit.relevance + reading.margin for hit, reading in zip(hits, read, strict=False))
    best = max(scores, default=float("-inf"))
    return any(not read or hit.relevance + bound >= best for hit in hits[len(read) :])


def passages_needed(hits: Sequence[Hit], readings: Sequence[Reading], bound: float) -> int:
    """How many of its hits `Pipeline.read` would have read, given the readings of all of them."""
    count = 0
    while may_improve(hits, readings[:count], bound):
        count = min(count + STRIDE, len(hits))
    return count


def find_calibration(recipe: Recipe, retriever: Retriever, reader: Reader) -> Calibration | None:
    """The calibration that the recipe names, or the one beside the reader where it holds for this retriever.

    Raises:
        ModelError: it can't be read.
        ConfigError: the recipe names one that was fitted with another retriever.
    """
    named = recipe.calibration
    path = reader.folder / calibration.FILE if named is None else Path(named)
    if named is None and not path.is_file():
        return None
    found = calibration.read(path)
    differs = calibration.difference(found, retriever.settings)
    if differs and named is not None:
        raise ConfigError(
            f"The calibration {path} was fitted with another retriever ({differs}). Make one for this recipe: "
            "odqa calibrate."
        )
    return None if differs else found


def reader_recipe(recipe: Recipe) -> recipes.ReaderRecipe:
    """The recipe's reader, on the model that `$ODQA_READER` names where it is set."""
    chosen = os.environ.get("ODQA_READER")
    return recipe.reader.model_copy(update={"model": chosen}) if chosen else recipe.reader
