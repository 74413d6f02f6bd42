"""The official SQuAD v2.0 scores, equal to those of the official script to the last digit.

Source: evaluate-v2.0.py of Rajpurkar et al. 2018; it sums Python numbers from the first question to the last, and so
does this module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odqa.errors import DataError
from odqa.evaluation.dataset import Question
from odqa.text import normalize_answer

Dataset = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Sequence[Question]
"""The whole official object, its "data", or questions that `dataset.load` has read."""


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """Scores in 0..1 before any threshold; entry i of each field is the same question, in the data set's order."""

    ids: tuple[str, ...]
    exact: tuple[float, ...]
    f1: tuple[float, ...]
    has_answer: tuple[bool, ...]


def evaluate(
    dataset: Dataset,
    predictions: Mapping[str, str],
    na_probs: Mapping[str, float] | None = None,
    na_prob_thresh: float = 1.0,
) -> dict[str, float]:
    """Compute the official figures, in percent.

    Predictions and probabilities of unknown questions are left out of account.

    Args:
        dataset: The questions with their gold answers.
        predictions: The answer of each question by its id, "" for no answer.
        na_probs: The probability that the question has no answer, by its id. Any number that rises with it will do.
        na_prob_thresh: Above it, the prediction counts as no answer.

    Returns:
        `exact`, `f1`, `total`; the same of the answerable questions (`HasAns_`) and of the others (`NoAns_`), where
        there are any. With `na_probs`, also the best figures that a threshold could reach (`best_`, chosen on the
        data itself) and the average precisions `pr_exact_ap`, `pr_f1_ap` and `pr_oracle_ap`.

    Raises:
        DataError: the data set is not in SQuAD form or is empty, or a question lacks its prediction or probability.
    """
    scores = scores_by_question(dataset, predictions)
    if na_probs is not None:
        _check_na_probs(scores.ids, na_probs)
    figures = _main_figures(scores, na_probs, na_prob_thresh)
    if na_probs is None:
        return figures
    rows = _by_na_prob(scores.ids, na_probs)
    sweep = [na_probs[scores.ids[row]] for row in rows]
    empty = [not predictions[name] for name in scores.ids]
    return figures | _best_figures(scores, rows, sweep, empty) | _precision_figures(scores, rows, sweep)


def scores_by_question(dataset: Dataset, predictions: Mapping[str, str]) -> QuestionScores:
    """Score each question: the best over its gold answers.

    Raises:
        DataError: the data set is not in SQuAD form or is empty, or a question lacks its prediction.
    """
    golds = gold_texts(dataset)
    check_predictions(golds, predictions)
    pairs = [(_scored_golds(texts), predictions[name]) for name, texts in golds.items()]
    return QuestionScores(
        ids=tuple(golds),
        exact=tuple(max(exact_match(gold, prediction) for gold in texts) for texts, prediction in pairs),
        f1=tuple(max(f1(gold, prediction) for gold in texts) for texts, prediction in pairs),
        has_answer=tuple(bool(texts) for texts in golds.values()),
    )


def exact_match(gold: str, prediction: str) -> int:
    """1 where both are the same after normalisation, else 0."""
    return int(normalize_answer(gold) == normalize_answer(prediction))


def f1(gold: str, prediction: str) -> float:
    """Harmonic mean of precision and recall over the words of both, after normalisation, in 0..1."""
    gold_words, words = normalize_answer(gold).split(), normalize_answer(prediction).split()
    if not gold_words or not words:
        return int(gold_words == words)
    same = sum((Counter(gold_words) & Counter(words)).values())
    if same == 0:
        return 0
    precision, recall = same / len(words), same / len(gold_words)
    return (2 * precision * recall) / (precision + recall)


def gold_texts(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The gold answers of each question by its id, in the data set's order; none where it has no answer.

    Raises:
        DataError: the data set is not in SQuAD form or is empty.
    """
    try:
        golds = dict(_gold_texts(dataset["data"] if isinstance(dataset, Mapping) else dataset))
    except (KeyError, TypeError) as error:
        raise DataError(f"The data set is not in SQuAD form ({error!r}): dataset.load says where.") from error
    if not golds:
        raise DataError("The data set holds no question: give one with at least one.")
    return golds


def check_predictions(ids: Collection[str], predictions: Mapping[str, str]) -> None:
    """Raise a DataError where a question has no prediction or one that is no text."""
    _check_complete(ids, predictions, 'a prediction, "" for no answer')
    for name in ids:
        if not isinstance(predictions[name], str):
            raise DataError(f'The prediction of "{name}" is {predictions[name]!r:.60}: give a text, "" for no answer.')


def _check_na_probs(ids: Collection[str], na_probs: Mapping[str, float]) -> None:
    _check_complete(ids, na_probs, "a no-answer probability")
    for name in ids:
        value = na_probs[name]
        if not isinstance(value, int | float) or math.isnan(value):
            raise DataError(f'The no-answer probability of "{name}" is {value!r:.60}: give a number.')


def _check_complete(ids: Collection[str], values: Mapping[str, Any], expected: str) -> None:
    missing = [name for name in ids if name not in values]
    if missing:
        first = ", ".join(f'"{name}"' for name in missing[:3])
        raise DataError(f"{len(missing)} of {len(ids)} questions, first {first}, lack {expected}: give each its own.")


def _gold_texts(entries: Sequence[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in entries:
        if isinstance(entry, Question):
            yield entry.id, tuple(answer.text for answer in entry.answers)
            continue
        for paragraph in entry["paragraphs"]:
            for qa in paragraph["qas"]:
                yield qa["id"], tuple(answer["text"] for answer in qa["answers"])


def _scored_golds(texts: tuple[str, ...]) -> Sequence[str]:
    return [text for text in texts if normalize_answer(text)] or [""]


def _main_figures(scores: QuestionScores, na_probs: Mapping[str, float] | None, threshold: float) -> dict[str, float]:
    abstains = [(0.0 if na_probs is None else na_probs[name]) > threshold for name in scores.ids]
    exact = _thresholded(scores.exact, abstains, scores.has_answer)
    f1s = _thresholded(scores.f1, abstains, scores.has_answer)
    figures = _means(exact, f1s)
    for prefix, wanted in (("HasAns", True), ("NoAns", False)):
        rows = [row for row, has_answer in enumerate(scores.has_answer) if has_answer is wanted]
        if rows:
            part = _means([exact[row] for row in rows], [f1s[row] for row in rows])
            figures |= {f"{prefix}_{key}": value for key, value in part.items()}
    return figures


def _thresholded(values: Sequence[float], abstains: Sequence[bool], has_answer: Sequence[bool]) -> list[float]:
    rows = zip(values, abstains, has_answer, strict=True)
    return [float(not answerable) if abstain else value for value, abstain, answerable in rows]


def _means(exact: Sequence[float], f1s: Sequence[float]) -> dict[str, float]:
    total = len(exact)
    return {"exact": 100.0 * sum(exact) / total, "f1": 100.0 * sum(f1s) / total, "total": total}


def _by_na_prob(ids: Sequence[str], na_probs: Mapping[str, float]) -> list[int]:
    row_of = {name: row for row, name in enumerate(ids)}
    # Equal probabilities stay in the order of `na_probs`, as in the official script: the best figures depend on it.
    return [row_of[name] for name in sorted(filter(row_of.__contains__, na_probs), key=na_probs.__getitem__)]


def _best_figures(
    scores: QuestionScores, rows: Sequence[int], sweep: Sequence[float], empty: Sequence[bool]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for key, values in (("best_exact", scores.exact), ("best_f1", scores.f1)):
        gains = [values[row] if scores.has_answer[row] else (0 if empty[row] else -1) for row in rows]
        figures[key], figures[f"{key}_thresh"] = _best(gains, sweep, scores.has_answer.count(False))
    return figures


def _best(gains: Sequence[float], sweep: Sequence[float], unanswerable: int) -> tuple[float, float]:
    """The best mean in percent and its threshold, answering one question more at each step of the sweep."""
    current: float = unanswerable
    best, threshold = current, 0.0
    for gain, na_prob in zip(gains, sweep, strict=True):
        current += gain
        if current > best:
            best, threshold = current, na_prob
    return 100.0 * best / len(gains), threshold


def _precision_figures(scores: QuestionScores, rows: Sequence[int], sweep: Sequence[float]) -> dict[str, float]:
    if not any(scores.has_answer):
        return {}
    oracle = [float(has_answer) for has_answer in scores.has_answer]
    named = (("pr_exact_ap", scores.exact), ("pr_f1_ap", scores.f1), ("pr_oracle_ap", oracle))
    return {
        key: _average_precision([values[row] if scores.has_answer[row] else 0 for row in rows], sweep, sum(oracle))
        for key, values in named
    }


def _average_precision(gains: Sequence[float], sweep: Sequence[float], answerable: float) -> float:
    """Area in percent under precision over recall, with a step where the sweep's value changes."""
    found = recall_before = area = 0.0
    for place, gain in enumerate(gains, 1):
        found += gain
        if place == len(gains) or sweep[place - 1] != sweep[place]:
            recall = found / answerable
            area += (found / place) * (recall - recall_before)
            recall_before = recall
    return 100.0 * area
