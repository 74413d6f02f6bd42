"""ROUGE F1 of answers, by the rule of the published figures of extractive readers.

Each question counts with the best F1 over its gold answers. An unanswerable one counts 1.0 where no answer was
predicted, else 0.0; an answerable one without a prediction counts 0.0. Figures are in 0..1, not in percent.

The rouge-score package keeps runs of ASCII letters and digits, lower-cased; the `rouge` package splits at white space.
So "12-year" is two words here and one there, figures of the two differ a little, and a text without an ASCII letter or
digit counts 0.0 here even where it is right. ROUGE-2 of an answer of one word is always 0.0.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from odqa.evaluation.squad import Dataset, check_predictions, gold_texts

TYPES = ("rouge1", "rouge2", "rougeL")
"""The figures that are computed, by their names in rouge-score."""


@dataclass(frozen=True, slots=True)
class RougeScores:
    """F1 in 0..1; `scores` has the keys of `TYPES`, and entry i is the same question everywhere."""

    ids: tuple[str, ...]
    scores: Mapping[str, tuple[float, ...]]
    has_answer: tuple[bool, ...]


def evaluate(dataset: Dataset, predictions: Mapping[str, str]) -> dict[str, float]:
    """Compute the means over all questions.

    Args:
        dataset: The questions with their gold answers, as for `squad.evaluate`.
        predictions: The answer of each question by its id, "" for no answer.

    Returns:
        `rouge1`, `rouge2`, `rougeL` in 0..1, and `total`; the same of the answerable questions (`HasAns_`) where there
        are any.

    Raises:
        DataError: the data set is not in SQuAD form or is empty, or a question lacks its prediction.
    """
    scored = scores_by_question(dataset, predictions)
    answerable = [row for row, has_answer in enumerate(scored.has_answer) if has_answer]
    figures = _means(scored, range(len(scored.ids)))
    if answerable:
        figures |= {f"HasAns_{key}": value for key, value in _means(scored, answerable).items()}
    return figures


def scores_by_question(dataset: Dataset, predictions: Mapping[str, str]) -> RougeScores:
    """Score each question.

    Raises:
        DataError: the data set is not in SQuAD form or is empty, or a question lacks its prediction.
    """
    golds = gold_texts(dataset)
    check_predictions(golds, predictions)
    score = _scorer()
    rows = [score(texts, predictions[name]) for name, texts in golds.items()]
    columns = zip(TYPES, zip(*rows, strict=True), strict=True)
    return RougeScores(tuple(golds), dict(columns), tuple(bool(texts) for texts in golds.values()))


def _scorer() -> Callable[[tuple[str, ...], str], tuple[float, ...]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(TYPES, use_stemmer=False)

    def score(golds: tuple[str, ...], prediction: str) -> tuple[float, ...]:
        empty = not prediction.strip()
        if empty or not golds:
            return (float(empty and not golds),) * len(TYPES)
        best = scorer.score_multi(golds, prediction)
        return tuple(float(best[kind].fmeasure) for kind in TYPES)

    return score


def _means(scored: RougeScores, rows: Sequence[int]) -> dict[str, float]:
    means: dict[str, float] = {kind: sum(scored.scores[kind][row] for row in rows) / len(rows) for kind in TYPES}
    return means | {"total": len(rows)}
