"""What every report says of its outcomes: ROUGE, articles, reliability, and the scores that a comparison needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from odqa.evaluation import rouge, thresholds
from odqa.evaluation.outcomes import Outcome

ROUGE_NOTE = (
    "The published line was computed with the rouge package, which splits lower-cased text at white space; these "
    "figures are rouge-score's, which keeps runs of ASCII letters and digits, so they differ a little. It never "
    "abstains: compare it with the forced row."
)
PUBLISHED_ROUGE = {"rouge1": 0.354, "HasAns_rouge1": 0.708}
"""ROUGE-1 F1 of a fine-tuned bert-base-uncased on SQuAD v2 dev, forced."""


@dataclass(frozen=True, slots=True)
class RougeReport:
    """ROUGE F1 in 0..1, of all and of answerable (`HasAns_`) questions, and the published line to hold it against."""

    abstaining: Mapping[str, float]
    forced: Mapping[str, float]
    published: Mapping[str, float] = field(default_factory=PUBLISHED_ROUGE.copy)
    note: str = ROUGE_NOTE


@dataclass(frozen=True, slots=True)
class ArticleScores:
    """The questions of one article under the tuned threshold: exact match and F1 in percent, `answered` in 0..1."""

    title: str
    questions: int
    answerable: int
    answered: float
    exact: float
    f1: float


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """The scores of each question under the tuned threshold, in 0..1; entry i of each field is the same question."""

    id: tuple[str, ...]
    title: tuple[str, ...]
    answerable: tuple[bool, ...]
    exact: tuple[float, ...]
    f1: tuple[float, ...]


def rouge_report(found: Sequence[Outcome], threshold: float, *, given: Sequence[Outcome] | None = None) -> RougeReport:
    """ROUGE under a null threshold, of what is `given` there where that is said, and forced."""
    questions = [outcome.question for outcome in found]
    return RougeReport(
        abstaining=rouge.evaluate(questions, thresholds.abstaining(found if given is None else given, threshold)),
        forced=rouge.evaluate(questions, thresholds.forced(found)),
    )


def articles(found: Sequence[Outcome], threshold: float) -> tuple[ArticleScores, ...]:
    """The scores of each article under a null threshold, the worst first."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in found:
        groups.setdefault(outcome.question.article, []).append(outcome)
    scored = (_article(title, group, threshold) for title, group in groups.items())
    return tuple(sorted(scored, key=lambda article: (article.f1, article.title)))


def _article(title: str, group: Sequence[Outcome], threshold: float) -> ArticleScores:
    exact, f1 = zip(*(outcome.scores(threshold) for outcome in group), strict=True)
    return ArticleScores(
        title=title,
        questions=len(group),
        answerable=sum(not outcome.question.is_impossible for outcome in group),
        answered=sum(outcome.answered(threshold) for outcome in group) / len(group),
        exact=100 * sum(exact) / len(group),
        f1=100 * sum(f1) / len(group),
    )


def question_scores(found: Sequence[Outcome], threshold: float) -> QuestionScores:
    """The scores of each question under a null threshold."""
    exact, f1 = zip(*(outcome.scores(threshold) for outcome in found), strict=True)
    questions = [outcome.question for outcome in found]
    return QuestionScores(
        tuple(question.id for question in questions),
        tuple(question.article for question in questions),
        tuple(not question.is_impossible for question in questions),
        exact,
        f1,
    )


def plain(value: Any) -> Any:
    """Plain lists and dictionaries, ready for JSON; a number that is not finite is None."""
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.metadata.get("json", True)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
