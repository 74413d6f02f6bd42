"""The whole pipeline: every question asked of an index, and the same reader on its gold passage beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from odqa import progress
from odqa.errors import ConfigError
from odqa.evaluation import losses, summary, thresholds
from odqa.evaluation.answers import Answered, Found, ask, with_known_documents
from odqa.evaluation.curves import Reliability, RiskCoverage, reliability, risk_coverage
from odqa.evaluation.dataset import Question
from odqa.evaluation.files import report_name
from odqa.evaluation.losses import Case, LossExample
from odqa.evaluation.outcomes import NO_SPAN, Outcome, check, score, score_texts
from odqa.evaluation.provenance import IndexUsed, Provenance, index_used, provenance
from odqa.evaluation.saved import Saved
from odqa.evaluation.summary import ArticleScores, QuestionScores, RougeReport
from odqa.evaluation.thresholds import OperatingPoint
from odqa.pipeline import Pipeline
from odqa.types import Span

KIND = "pipeline"
BATCH = 32
RISKS = (0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class GoldScores:
    """The reader alone, each question against its own passage: the line that retrieval can lose against."""

    scores: Mapping[str, float]
    thresholds: Mapping[str, OperatingPoint]
    rouge: RougeReport


@dataclass(frozen=True, slots=True)
class Depth:
    """The figures of one `top_k`.

    Attributes:
        top_k: Passages asked for.
        passages: Mean number of passages that were read for a question.
        retrieved: Share of the answerable questions whose gold passage was among them; None without any.
        scores: Every official figure under the tuned threshold, in percent.
        thresholds: The figures under `zero`, `tuned`, `oracle` and `forced`.
        rouge: ROUGE, abstaining under the tuned threshold and forced.
        losses: Number of questions by what became of them, under the tuned threshold.
        reliability: The probability of the best answer against how often that is exactly right.
        risk: Risk over coverage, ranking by the `probability` of the best answer and by its raw `margin`.
        coverage_at_risk: Largest share of the questions, ranked by probability, that can be answered at a risk.
        answered_elsewhere: Unanswerable questions that were answered from another document than their own.
    """

    top_k: int
    passages: float
    retrieved: float | None
    scores: Mapping[str, float]
    thresholds: Mapping[str, OperatingPoint]
    rouge: RougeReport
    losses: Mapping[str, int]
    reliability: Reliability
    risk: Mapping[str, RiskCoverage]
    coverage_at_risk: Mapping[str, float]
    answered_elsewhere: int

    @property
    def tuned(self) -> OperatingPoint:
        """The scores under the reader's null threshold."""
        return self.thresholds["tuned"]


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """All that an evaluation found; what has no `top_k` of its own speaks of the largest.

    Attributes:
        report: What kind of report this is.
        pipeline: Name of the recipe.
        index: The index that was asked.
        retriever: The retriever's settings.
        by_answer: Questions whose gold passage is not known, but told by an answer string.
        threshold_of: What the null threshold holds for, "margin" or "probabilities"; see `Calibration`.
        depths: The figures by `top_k`, the smallest first.
        gold: The same reader on the gold passages; None where a question came without one.
        articles: The worst first.
        examples: Wrong ones under the tuned threshold.
        audit: Unanswerable questions that were answered from another document than their own, the surest.
        provenance: Model, data, settings, versions.
        seconds: Time by stage, without loading the models.
        questions_per_second: The same as a rate, without the gold passages.
        questions: The scores of each, under the tuned threshold.
        cases: One for each question, in the data's order, with its best answer; left out of the report's JSON.
        given: The outcomes with the answers that stand at the tuned threshold, likewise.
    """

    report: str
    pipeline: str
    index: IndexUsed
    retriever: Mapping[str, object]
    by_answer: int
    threshold_of: str
    depths: Mapping[int, Depth]
    gold: GoldScores | None
    articles: tuple[ArticleScores, ...]
    examples: tuple[LossExample, ...]
    audit: tuple[LossExample, ...]
    provenance: Provenance
    seconds: Mapping[str, float]
    questions_per_second: float
    questions: QuestionScores = field(repr=False)
    cases: tuple[Case, ...] = field(repr=False, metadata={"json": False})
    given: tuple[Outcome, ...] = field(repr=False, metadata={"json": False})

    @property
    def deepest(self) -> Depth:
        """The figures of the largest `top_k`."""
        return self.depths[max(self.depths)]

    @property
    def measure(self) -> str:
        """What the null threshold holds for, in a word."""
        return "margin" if self.threshold_of == "margin" else "log-odds"

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of the largest `top_k`."""
        return tuple(case.outcome for case in self.cases)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON; a number that is not finite is None."""
        found: dict[str, Any] = summary.plain(self)
        return found


def evaluate_pipeline(
    pipeline: Pipeline,
    questions: Sequence[Question],
    *,
    top_ks: Sequence[int] = (),
    saved: Saved | None = None,
    data: str = "",
    available: int | None = None,
    seed: int = 0,
    command: str = "",
) -> PipelineReport:
    """Ask every question of the pipeline's index and score the answers.

    Args:
        pipeline: Its `null_threshold` is the tuned one; its reader's, that on the gold passages.
        questions: Each with its own id.
        top_ks: Numbers of passages to read; the recipe's where there is none.
        saved: Where the answers are kept as they come, and those of an interrupted run stand.
        data: Where the questions come from, for the record: a path or a name.
        available: How many there were to choose from; all of them where None.
        seed: Of the intervals and the samples of examples.
        command: For the record.

    Raises:
        ConfigError: a `top_k` is below 1, or what was saved is of another evaluation.
        DataError: there is no question, one can't be asked, two have the same id, or the index lacks some of their
            documents.
    """
    depths = checked_top_ks(pipeline, top_ks)
    check(pipeline.reader, questions)
    asked = with_known_documents(pipeline.retriever.index, questions)
    answered = _answer_all(pipeline, asked, depths, saved)
    threshold = pipeline.null_threshold
    cases = {top_k: _cases(asked, answered, top_k) for top_k in depths}
    given = {top_k: _given(cases[top_k]) for top_k in depths}
    deepest = given[max(depths)]
    outcomes = [case.outcome for case in deepest]
    seconds = _seconds(answered)
    return PipelineReport(
        report=report_name(KIND),
        pipeline=pipeline.name,
        index=index_used(pipeline.retriever.index),
        retriever=pipeline.retriever.recipe.model_dump(mode="json"),
        by_answer=sum(not question.document_id for question in asked),
        threshold_of=pipeline.calibration.threshold_of if pipeline.calibration else "margin",
        depths={top_k: _depth(top_k, cases[top_k], given[top_k], threshold, seed) for top_k in depths},
        gold=_gold(asked, answered, pipeline.reader.null_threshold, seed),
        articles=summary.articles(outcomes, threshold),
        examples=losses.examples(deepest, threshold, seed=seed),
        audit=losses.audit(deepest, threshold),
        provenance=provenance(
            pipeline.reader.recipe,
            data,
            available=len(questions) if available is None else available,
            seed=seed,
            command=command,
        ),
        seconds=seconds,
        questions_per_second=len(asked) / (seconds["retrieve"] + seconds["read"]),
        questions=summary.question_scores(outcomes, threshold),
        cases=tuple(cases[max(depths)]),
        given=tuple(outcomes),
    )


def checked_top_ks(pipeline: Pipeline, top_ks: Sequence[int]) -> list[int]:
    """The numbers of passages, the smallest first, each once; the recipe's where there is none.

    Raises:
        ConfigError: one is below 1.
    """
    for top_k in top_ks:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be at least 1.")
    return sorted(set(top_ks)) or [pipeline.retriever.recipe.top_k]


def _answer_all(
    pipeline: Pipeline, questions: Sequence[Question], top_ks: Sequence[int], saved: Saved | None
) -> list[Answered]:
    """The answers to all questions, in batches that are the same however often the work was interrupted."""
    done = [] if saved is None else saved.resume([question.id for question in questions], BATCH)
    with progress.bar("Answering", total=len(questions), unit="questions") as tick:
        tick.advance(len(done))
        for begin in range(len(done), len(questions), BATCH):
            batch = ask(pipeline, questions[begin : begin + BATCH], top_ks)
            if saved is not None:
                saved.add(batch)
            done += batch
            tick.advance(len(batch))
    return done


def _cases(questions: Sequence[Question], answered: Sequence[Answered], top_k: int) -> list[Case]:
    return _scored(questions, [one.at[top_k] for one in answered])


def _scored(questions: Sequence[Question], found: Sequence[Found]) -> list[Case]:
    texts = [one.best.text if one.best else "" for one in found]
    spans = [Span(one.best.start, one.best.end, one.best.over_no_answer) if one.best else NO_SPAN for one in found]
    outcomes = score_texts(questions, texts, spans)
    return [Case(outcome, one) for outcome, one in zip(outcomes, found, strict=True)]


def _given(cases: Sequence[Case]) -> list[Case]:
    """The cases with the answers that stand at the tuned threshold."""
    return _scored([case.outcome.question for case in cases], [replace(c.found, best=c.found.given) for c in cases])


def _depth(top_k: int, cases: Sequence[Case], given: Sequence[Case], threshold: float, seed: int) -> Depth:
    outcomes, kept = [case.outcome for case in cases], [case.outcome for case in given]
    tuned = thresholds.operating_point(kept, threshold, seed=seed)
    right = [0.0 if outcome.question.is_impossible else outcome.exact for outcome in outcomes]
    probabilities = [case.found.best.probability if case.found.best else 0.0 for case in cases]
    margins = [case.found.best.margin if case.found.best else float("-inf") for case in cases]
    by_probability = risk_coverage(probabilities, right)
    return Depth(
        top_k=top_k,
        passages=sum(case.found.passages for case in cases) / len(cases),
        retrieved=_retrieved(cases),
        scores={**thresholds.official_scores(outcomes, threshold), **tuned.scores},
        thresholds={**thresholds.side_by_side(outcomes, threshold, seed=seed), "tuned": tuned},
        rouge=summary.rouge_report(outcomes, threshold, given=kept),
        losses=losses.counts(given, threshold),
        reliability=reliability(probabilities, right),
        risk={"probability": by_probability, "margin": risk_coverage(margins, right)},
        coverage_at_risk={f"{risk:g}": by_probability.coverage_at(risk) for risk in RISKS},
        answered_elsewhere=len(losses.answered_elsewhere(given, threshold)),
    )


def _retrieved(cases: Sequence[Case]) -> float | None:
    found = [case.found.gold_rank is not None for case in cases if not case.outcome.question.is_impossible]
    return sum(found) / len(found) if found else None


def _gold(
    questions: Sequence[Question], answered: Sequence[Answered], threshold: float, seed: int
) -> GoldScores | None:
    if not all(question.context for question in questions):
        return None
    outcomes = score(questions, [one.gold or NO_SPAN for one in answered])
    return GoldScores(
        scores=thresholds.official_scores(outcomes, threshold),
        thresholds=thresholds.side_by_side(outcomes, threshold, seed=seed),
        rouge=summary.rouge_report(outcomes, threshold),
    )


def _seconds(answered: Sequence[Answered]) -> dict[str, float]:
    return {stage: sum(one.seconds[stage] for one in answered) for stage in answered[0].seconds}
