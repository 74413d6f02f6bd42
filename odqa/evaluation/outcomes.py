"""What the reader finds in each question's own passage, and how right it is, before any threshold."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from odqa import progress
from odqa.errors import ConfigError, DataError, QuestionError
from odqa.evaluation import squad
from odqa.evaluation.dataset import Question
from odqa.reader import Reader
from odqa.reader.ranking import probability
from odqa.types import Reading, Span

BATCH = 512
NO_SPAN = Span(0, 0, float("-inf"))
"""Stands for the best span of a passage that holds no token."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best span of a question's passage, and the scores in 0..1 that answering with it gets.

    `margin` is -inf where the passage holds no token; then the prediction is empty.
    """

    question: Question
    prediction: str
    start: int
    end: int
    margin: float
    exact: float
    f1: float

    @property
    def na_prob(self) -> float:
        """The no-answer probability of the official script, `1 / (1 + exp(margin))`."""
        return probability(-self.margin)

    def answered(self, threshold: float) -> bool:
        """Whether the span is given as answer under this null threshold."""
        return self.margin >= threshold and bool(self.prediction)

    def scores(self, threshold: float) -> tuple[float, float]:
        """Exact match and F1 under this null threshold, in 0..1; no answer is right where there is none."""
        if self.answered(threshold):
            return self.exact, self.f1
        right = float(self.question.is_impossible)
        return right, right


def sample(questions: Sequence[Question], limit: int | None, *, seed: int = 0) -> list[Question]:
    """At most `limit` random questions, in their own order; all of them where it is None.

    Raises:
        ConfigError: the limit is below 1.
    """
    if limit is None or limit >= len(questions):
        return list(questions)
    if limit < 1:
        raise ConfigError(f"The limit is {limit}; it must be at least 1.")
    rows = random.Random(seed).sample(range(len(questions)), limit)  # noqa: S311
    return [questions[row] for row in sorted(rows)]


def check(reader: Reader, questions: Sequence[Question]) -> None:
    """Check that all questions can be asked before any is.

    Raises:
        DataError: there is none, one is empty or too long for the reader.
    """
    if not questions:
        raise DataError("There is no question to evaluate: give at least one.")
    for question in questions:
        _check(reader, question)


def best_spans(reader: Reader, questions: Sequence[Question]) -> list[Span]:
    """Read each question's own passage.

    Raises:
        DataError: there is no question, or one can't be asked: it is empty or too long for the reader.
    """
    check(reader, questions)
    return [next(iter(reading.spans), NO_SPAN) for reading in _read(reader, questions)]


def score(questions: Sequence[Question], spans: Sequence[Span]) -> tuple[Outcome, ...]:
    """Score the best span of each question's own passage.

    Raises:
        DataError: two questions have the same id.
    """
    texts = [question.context[span.start : span.end] for question, span in zip(questions, spans, strict=True)]
    return score_texts(questions, texts, spans)


def score_texts(questions: Sequence[Question], texts: Sequence[str], spans: Sequence[Span]) -> tuple[Outcome, ...]:
    """Score the answer of each question, given as its text and its span in the passage that was read.

    Raises:
        DataError: two questions have the same id.
    """
    names = {question.id for question in questions}
    if len(names) < len(questions):
        raise DataError(f"{len(questions) - len(names)} questions repeat an id: give each its own.")
    predictions = {question.id: text for question, text in zip(questions, texts, strict=True)}
    scored = squad.scores_by_question(questions, predictions)
    rows = zip(questions, texts, spans, scored.exact, scored.f1, strict=True)
    return tuple(
        Outcome(question, text, span.start, span.end, span.margin, exact, f1)
        for question, text, span, exact, f1 in rows
    )


def _check(reader: Reader, question: Question) -> None:
    try:
        reader.check_question(question.question)
    except QuestionError as error:
        raise DataError(f'Question "{question.id}" can\'t be asked. {error}') from None


def _read(reader: Reader, questions: Sequence[Question]) -> list[Reading]:
    """Read in batches of passages of like length, which need little padding."""
    order = sorted(range(len(questions)), key=lambda row: len(questions[row].context))
    readings: dict[int, Reading] = {}
    with progress.bar("Reading", total=len(order), unit="questions") as tick:
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            found = reader.read([(questions[row].question, questions[row].context) for row in rows])
            readings.update(zip(rows, found, strict=True))
            tick.advance(len(rows))
    return [readings[row] for row in range(len(questions))]
