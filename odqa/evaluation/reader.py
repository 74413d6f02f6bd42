"""The reader alone: every question against its own passage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from odqa.evaluation import mistakes, summary, thresholds
from odqa.evaluation.curves import Reliability, reliability
from odqa.evaluation.dataset import Question
from odqa.evaluation.mistakes import Example
from odqa.evaluation.outcomes import Outcome, best_spans, score
from odqa.evaluation.provenance import Provenance, provenance
from odqa.evaluation.summary import ArticleScores, QuestionScores, RougeReport
from odqa.evaluation.thresholds import OperatingPoint
from odqa.reader import Reader

REPORT = "odqa reader evaluation"


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
        questions: The scores of each, under the tuned threshold.
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
    questions: QuestionScores = field(repr=False)
    outcomes: tuple[Outcome, ...] = field(repr=False, metadata={"json": False})

    @property
    def tuned(self) -> OperatingPoint:
        """The scores under the recipe's null threshold."""
        return self.thresholds["tuned"]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; a number that is not finite is None."""
        found: dict[str, Any] = summary.plain(self)
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
        rouge=summary.rouge_report(found, threshold),
        mistakes=mistakes.counts(found, threshold),
        reliability=_reliability(found, reader),
        articles=summary.articles(found, threshold),
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
        questions=summary.question_scores(found, threshold),
        outcomes=found,
    )


def _reliability(found: Sequence[Outcome], reader: Reader) -> Reliability:
    right = [0.0 if outcome.question.is_impossible else outcome.exact for outcome in found]
    return reliability([reader.probability(outcome.margin) for outcome in found], right)
