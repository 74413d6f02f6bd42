"""From spans in passages to answers: scored, thresholded, ranked, equal ones merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from odqa.errors import ConfigError
from odqa.text import normalize_answer
from odqa.types import Abstain, Answer, Evidence, Hit, Reading, section_at


@dataclass(frozen=True, slots=True)
class Choice:
    """How one request wants its answers: at most `n_best`, abstaining by `abstain`, or by `max_risk` where given."""

    n_best: int
    abstain: Abstain = Abstain.THRESHOLD
    max_risk: float | None = None

    @classmethod
    def of(cls, n_best: int, abstain: str, max_risk: float | None) -> Choice:
        """Check the values of a request.

        Raises:
            ConfigError: naming the value that can't be.
        """
        if n_best < 1:
            raise ConfigError(f"n_best is {n_best}; it must be at least 1.")
        if abstain not in list(Abstain):
            raise ConfigError(f'abstain is "{abstain}"; it must be one of: {", ".join(Abstain)}.')
        if max_risk is not None and not 0 <= max_risk <= 1:
            raise ConfigError(f"max_risk is {max_risk}; it must be between 0 and 1.")
        return cls(n_best, Abstain(abstain), max_risk)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The answers of one question, best first; empty stands for "no answer"."""

    answers: tuple[Answer, ...]
    no_answer_probability: float


def rank(hits: Sequence[Hit], readings: Sequence[Reading], null_threshold: float, choice: Choice) -> Ranked:
    """Answers over the passages that were read, best first.

    A span's score is its margin (the reader's log-odds of the span against "no answer" in this passage) plus the
    passage's relevance (the retriever's log-odds that this is the passage asked about): nothing in it depends on the
    other passages. What scores under `null_threshold` is dropped; equal answers (after SQuAD normalisation) are
    merged under their best evidence.
    """
    found = [item for hit, reading in zip(hits, readings, strict=True) for item in _evidence(hit, reading)]
    answers = _merge(sorted(found, key=_order))
    no_answer_probability = 1.0 - (answers[0].probability if answers else 0.0)
    if choice.max_risk is not None:
        answers = [answer for answer in answers if 1 - answer.probability <= choice.max_risk]
    elif choice.abstain is Abstain.THRESHOLD:
        kept = [item for item in found if item.score >= null_threshold]
        answers = _merge(sorted(kept, key=_order))
    return Ranked(tuple(answers[: choice.n_best]), no_answer_probability)


def _order(item: Evidence) -> tuple[float, str, int, int]:
    return -item.score, item.document_id, item.start, item.end


def _evidence(hit: Hit, reading: Reading) -> list[Evidence]:
    passage = hit.passage
    return [
        Evidence(
            text=passage.text[span.start : span.end],
            score=span.margin + hit.relevance,
            margin=span.margin,
            document_id=passage.document_id,
            title=passage.title,
            start=passage.start + span.start,
            end=passage.start + span.end,
            passage=passage.text,
            passage_start=passage.start,
            page=section.page,
            heading=section.heading,
            metadata=passage.metadata,
        )
        for span in reading.spans
        for section in [section_at(passage.sections, passage.start + span.start)]
    ]


def _merge(ordered: Sequence[Evidence]) -> list[Answer]:
    groups: dict[str, list[Evidence]] = {}
    for item in ordered:
        groups.setdefault(normalize_answer(item.text) or item.text, []).append(item)
    names = [field.name for field in fields(Evidence)]
    return [
        Answer(
            **{name: getattr(group[0], name) for name in names},
            probability=probability(group[0].score),
            evidence=tuple(_distinct(group)),
        )
        for group in groups.values()
    ]


def _distinct(group: Sequence[Evidence]) -> list[Evidence]:
    """Overlapping passages of a document show the same place twice: keep it once, with its best score."""
    places = {(item.document_id, item.start, item.end): item for item in reversed(group)}
    return sorted(places.values(), key=_order)


def probability(score: float) -> float:
    """The logistic function of the score: the reader's own odds of its span against "no answer"."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
