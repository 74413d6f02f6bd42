"""The reader alone: every question against its own passage."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from odqa.evaluation import mistakes, rouge, thresholds
from odqa.evaluation.curves import Reliability, reliability
from odqa.evaluation.dataset import Question
from odqa.evaluation.mistakes import Example
from odqa.evaluation.outcomes import Outcome, best_spans, score
from odqa.evaluation.provenance import Provenance, provenance
from odqa.evaluation.thresholds import OperatingPoint
from odqa.reader import Reader

REPORT = "odqa reader evaluation"
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
class ReaderReport:
    """All that an evaluation found.

    Attributes:
        report: What kind of report this is.
        scores: Every official figure under the tuned threshold, in percent.
        thresholds: The figures under `zero`, `tuned`, `oracle` and `forced`.
        rouge: ROUGE, abstaining under the tuned threshold and forced.
        mistakes: Number of questions by what became of them, under the tuned threshold.
        reliability: The reader's probability of its best span against how often that is exactly right.
        articles: The worst first.
        examples: Wrong ones under the tuned threshold.
        provenance: Model, data, settings, versions.
        seconds: Time that reading took, without loading the model.
        questions_per_second: The same as a rate.
        outcomes: One for each question, in the data's order; left out of the report's JSON.
    """

    report: str
    scores: Mapping[str, float]
    thresholds: Mapping[str, OperatingPoint]
    rouge: RougeReport
    mistakes: Mapping[str, int]
    reliability: Reliability
    articles: tuple[ArticleScores, ...]
    examples: tuple[Example, ...]
    provenance: Provenance
    seconds: float
    questions_per_second: float
    outcomes: tuple[Outcome, ...] = field(repr=False, metadata={"json": False})

    @property
    def tuned(self) -> OperatingPoint:
        """The scores under the recipe's null threshold."""
        return self.thresholds["tuned"]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; a number that is not finite is None."""
        found: dict[str, Any] = _plain(self)
        return found


def evaluate_reader(
    reader: Reader,
    questions: Sequence[Question],
    *,
    data: str = "",
    available: int | None = None,
    seed: int = 0,
    command: str = "",
) -> ReaderReport:
    """Ask each question of its own passage and score the answers.

    Args:
        reader: Its `null_threshold` is the tuned one.
        questions: Each with its own id.
        data: Where they come from, for the record: a path or a name.
        available: How many there were to choose from; all of them where None.
        seed: Of the intervals and the sample of wrong examples.
        command: For the record.

    Raises:
        DataError: there is no question, one can't be asked, or two have the same id.
    """
    begin = time.perf_counter()
    spans = best_spans(reader, questions)
    seconds = time.perf_counter() - begin
    found = score(questions, spans)
    threshold = reader.null_threshold
    return ReaderReport(
        report=REPORT,
        scores=thresholds.official_scores(found, threshold),
        thresholds=thresholds.side_by_side(found, threshold, seed=seed),
        rouge=_rouge(found, threshold),
        mistakes=mistakes.counts(found, threshold),
        reliability=_reliability(found),
        articles=_articles(found, threshold),
        examples=mistakes.examples(found, threshold, seed=seed),
        provenance=provenance(
            reader.recipe,
            data,
            available=len(questions) if available is None else available,
            seed=seed,
            command=command,
        ),
        seconds=seconds,
        questions_per_second=len(questions) / seconds,
        outcomes=found,
    )


def _rouge(found: Sequence[Outcome], threshold: float) -> RougeReport:
    questions = [outcome.question for outcome in found]
    return RougeReport(
        abstaining=rouge.evaluate(questions, thresholds.abstaining(found, threshold)),
        forced=rouge.evaluate(questions, thresholds.forced(found)),
    )


def _reliability(found: Sequence[Outcome]) -> Reliability:
    right = [0.0 if outcome.question.is_impossible else outcome.exact for outcome in found]
    return reliability([outcome.probability for outcome in found], right)


def _articles(found: Sequence[Outcome], threshold: float) -> tuple[ArticleScores, ...]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in found:
        groups.setdefault(outcome.question.title, []).append(outcome)
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


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.metadata.get("json", True)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
