"""Scores of a reader on held-out questions, each against its own passage, and the threshold that they suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odqa.evaluation import squad
from odqa.evaluation.dataset import Question
from odqa.reader import Reader

_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Predictions:
    """The best span of each question by its id, whether or not it should be given, and its margin."""

    texts: Mapping[str, str]
    margins: Mapping[str, float]


def predict(reader: Reader, questions: Sequence[Question]) -> Predictions:
    """Read each question's own passage; without a token there, the text is empty and the margin minus infinity."""
    texts: dict[str, str] = {}
    margins: dict[str, float] = {}
    for begin in range(0, len(questions), _CHUNK):
        chunk = questions[begin : begin + _CHUNK]
        for question, reading in zip(chunk, reader.read([(one.question, one.context) for one in chunk]), strict=True):
            best = reading.spans[0] if reading.spans else None
            texts[question.id] = question.context[best.start : best.end] if best else ""
            margins[question.id] = reading.margin
    return Predictions(texts, margins)


def figures(questions: Sequence[Question], predictions: Predictions, *, null_threshold: float) -> dict[str, float]:
    """The official figures at a null threshold, and the best ones over all thresholds (`best_f1`...)."""
    na_probs = {name: -margin for name, margin in predictions.margins.items()}
    return squad.evaluate(questions, predictions.texts, na_probs, na_prob_thresh=-null_threshold)


def tuned_threshold(questions: Sequence[Question], predictions: Predictions) -> float:
    """The null threshold with the best F1: half-way between the last margin to answer and the first not to.

    Half-way, so that it doesn't hang on the last digit of one question's logits.
    """
    scores = squad.scores_by_question(questions, predictions.texts)
    margins = np.array([predictions.margins[name] for name in scores.ids])
    readable = np.isfinite(margins)
    gains = np.where(scores.has_answer, scores.f1, -1.0)[readable]
    margins = margins[readable]
    if not len(margins):
        return 0.0
    order = np.argsort(-margins, kind="stable")
    ordered = margins[order]
    total = np.concatenate([[0.0], np.cumsum(gains[order])])
    edges = np.concatenate([[ordered[0] + 2.0], ordered, [ordered[-1] - 2.0]])
    total[~(edges[:-1] > edges[1:])] = -np.inf
    best = int(np.argmax(total))
    return float((edges[best] + edges[best + 1]) / 2)
