"""The reader: finds spans in passages, and says how far each stands above "no answer"."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from odqa import models
from odqa.reader import calibration
from odqa.reader.calibration import Calibration
from odqa.reader.decode import best_token_spans, character_spans, reading
from odqa.reader.ranking import Choice, Ranked, rank
from odqa.reader.windows import Window, Windower, load_tokenizer
from odqa.recipes import ReaderRecipe
from odqa.runtime import Kind, load_engine, pad, token_batches
from odqa.types import Hit, Passage, PassageRead, Reading, Result

__all__ = ["Calibration", "Choice", "Ranked", "Reader", "rank"]

_SPANS_A_WINDOW = 20


class Reader:
    """A fine-tuned extractive reader."""

    def __init__(self, recipe: ReaderRecipe | str | Path, *, device: str | None = None) -> None:
        """Load the reader of a recipe, or one by its name or folder with the default settings.

        Raises:
            ModelError: the model can't be found or is no reader.
        """
        self.recipe = recipe if isinstance(recipe, ReaderRecipe) else ReaderRecipe(model=str(recipe))
        self.folder = folder = models.locate(self.recipe.model)
        chosen = self.recipe.null_threshold
        self.null_threshold = models.tuned_threshold(folder) if chosen is None else chosen
        self.calibration = calibration.of_reader(folder)
        self._tokenizer = load_tokenizer(folder)
        self._windower = Windower(self._tokenizer, max_length=self.recipe.max_length, doc_stride=self.recipe.doc_stride)
        self._engine = load_engine(folder, Kind.READER, device=device)
        self._pad_id = models.pad_id(folder)

    @property
    def batch_tokens(self) -> int:
        """Tokens that the model reads at a time, at most."""
        return self._engine.max_tokens

    def check_question(self, question: str) -> None:
        """Raise a QuestionError where the question is empty or too long for a window."""
        self._windower.check_question(question)

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Read (question, passage) pairs, all windows together, in batches of like length.

        Raises:
            QuestionError: a question is empty or too long.
        """
        windows = self._windower.windows(pairs)
        spans: list[list[tuple[int, int, float]]] = [[] for _ in pairs]
        for rows in token_batches([len(window.ids) for window in windows], self._engine.max_tokens):
            batch = [windows[row] for row in rows]
            for window, found in zip(batch, self._spans(batch), strict=True):
                spans[window.pair].extend(found)
        return [reading(text, found, _SPANS_A_WINDOW) for (_, text), found in zip(pairs, spans, strict=True)]

    def _spans(self, windows: Sequence[Window]) -> list[list[tuple[int, int, float]]]:
        start, end = self._engine.run(
            pad([window.ids for window in windows], [window.segments for window in windows], self._pad_id)
        )
        first = np.array([window.first for window in windows])
        found = best_token_spans(
            start,
            end,
            first,
            np.array([window.stop for window in windows]),
            max_answer_length=self.recipe.max_answer_length,
            n_best=_SPANS_A_WINDOW,
        )
        rows: list[list[tuple[int, int, float]]] = [[] for _ in windows]
        for span, place in zip(
            found, character_spans(found, [window.offsets for window in windows], first), strict=True
        ):
            rows[span.row].append(place)
        return rows

    def probability(self, margin: float) -> float:
        """The probability that the best span of a passage is right, by its margin."""
        if self.calibration is None or margin == float("-inf"):
            return calibration.logistic(margin)
        return self.calibration.right.probability(calibration.Features(score=margin))

    def answer(
        self,
        question: str,
        context: str,
        *,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
    ) -> Result:
        """Answer from one context; spans count in it.

        Args:
            question: What is asked.
            context: The text to find the answer in.
            n_best: Answers kept; the recipe's number where None.
            abstain: "threshold" or "never".
            max_risk: Answer only with a probability of being wrong of at most this; overrides `abstain`.

        Raises:
            QuestionError: the question is empty or too long.
            ConfigError: an option has a value that can't be.
        """
        return self.answer_batch([(question, context)], n_best=n_best, abstain=abstain, max_risk=max_risk)[0]

    def answer_batch(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        n_best: int | None = None,
        abstain: str = "threshold",
        max_risk: float | None = None,
    ) -> list[Result]:
        """Answer (question, context) pairs together; see `answer`. Timings are the seconds that all of them took."""
        choice = Choice.of(self.recipe.n_best if n_best is None else n_best, abstain, max_risk)
        begin = time.perf_counter()
        readings = self.read(pairs)
        timings = {"read": time.perf_counter() - begin}
        results = []
        for (question, context), read in zip(pairs, readings, strict=True):
            hits = [Hit(Passage("", context), score=0.0)]
            ranked = rank(hits, [read], self.null_threshold, choice, self.calibration)
            results.append(result(question, hits, [read], ranked, timings=timings))
        return results


def result(
    question: str,
    hits: Sequence[Hit],
    readings: Sequence[Reading],
    ranked: Ranked,
    *,
    timings: dict[str, float],
    index: str = "",
    generation: int = 0,
    pipeline: str = "",
) -> Result:
    """Put the record of one question together; of its hits the first ones were read."""
    passages = tuple(
        PassageRead(
            hit.passage.document_id,
            hit.passage.title,
            hit.passage.start,
            hit.passage.end,
            hit.passage.text,
            hit.score,
            reading.margin if reading is not None and reading.spans else None,
        )
        for hit, reading in zip_longest(hits, readings)
    )
    return Result(
        question,
        ranked.answers,
        not ranked.answers,
        ranked.no_answer_probability,
        timings,
        index,
        generation,
        pipeline,
        passages,
        len(readings),
    )
