"""The pipeline: a question in, answers with their evidence out, or "no answer"."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Self

from odqa import recipes
from odqa.errors import ConfigError
from odqa.index import Index
from odqa.reader import Choice, Reader, rank, result
from odqa.recipes import Pipeline as Recipe
from odqa.retriever import Retriever
from odqa.types import Result

DEFAULT = "default"
BATCH = 32


class Pipeline:
    """A retriever over an index, and a reader."""

    def __init__(self, retriever: Retriever, reader: Reader, *, name: str = "") -> None:
        """Join the two; `name` is written into results."""
        self.retriever = retriever
        self.reader = reader
        self.name = name

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
        return cls(Retriever(opened, recipe.retriever), reader, name=name)

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
            abstain: "threshold" drops passages that score under the reader's null threshold; "never" always
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
        pairs = [(question, hit.passage.text) for question, found in zip(questions, hits, strict=True) for hit in found]
        readings = iter(self.reader.read(pairs))
        done = time.perf_counter()
        timings = {"retrieve": retrieved - begin, "read": done - retrieved}
        return [
            result(
                question,
                found,
                read := list(islice(readings, len(found))),
                rank(found, read, self.reader.null_threshold, choice),
                timings=timings,
                index=self.retriever.index.name,
                generation=self.retriever.index.generation.number,
                pipeline=self.name,
            )
            for question, found in zip(questions, hits, strict=True)
        ]

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


def reader_recipe(recipe: Recipe) -> recipes.ReaderRecipe:
    """The recipe's reader, on the model that `$ODQA_READER` names where it is set."""
    chosen = os.environ.get("ODQA_READER")
    return recipe.reader.model_copy(update={"model": chosen}) if chosen else recipe.reader
