"""From spans in passages to answers: scored, thresholded, ranked, equal ones merged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from odqa.errors import ConfigError
from odqa.reader.calibration import FARTHEST, Calibration, Features, log_odds, logistic
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

    def least(self, null_threshold: float) -> float:
        """The threshold that holds for this request; -inf where it is not asked for."""
        return null_threshold if self.max_risk is None and self.abstain is Abstain.THRESHOLD else -math.inf


@dataclass(frozen=True, slots=True)
class Ranked:
    """The answers of one question, best first; empty stands for "no answer"."""

    answers: tuple[Answer, ...]
    no_answer_probability: float


def rank(
    hits: Sequence[Hit],
    readings: Sequence[Reading],
    null_threshold: float,
    choice: Choice,
    calibration: Calibration | None = None,
) -> Ranked:
    """Answers over the passages that were read, best first.

    A span's score is its margin (the reader's log-odds of the span against "no answer" in this passage) plus the
    passage's relevance (the retriever's log-odds that this is the passage asked about): nothing in it depends on the
    other passages. Equal answers (after SQuAD normalisation) are merged under their best evidence. What stands under
    `null_threshold` is dropped (see `over_no_answer`), and of what is left the evidence whose margin speaks against it.
    Without a calibration the probabilities are the bare logistic function of the score.
    """
    groups = _groups(hits, readings)
    features = list(_features(groups))
    answers = [
        _answer(group, probability(group[0].score) if calibration is None else calibration.right.probability(about))
        for group, about in zip(groups, features, strict=True)
    ]
    no_answer = _no_answer_probability(answers, features, calibration)
    if choice.max_risk is not None:
        least = 1 - choice.max_risk if calibration is None else calibration.least_probability(choice.max_risk)
        kept = [answer for answer in answers if answer.probability >= least]
    else:
        kept = _over(answers, no_answer, choice.least(null_threshold), calibration)
    return Ranked(tuple(kept[: choice.n_best]), no_answer)


def over_no_answer(answer: Answer, no_answer_probability: float, calibration: Calibration | None) -> float:
    """What the null threshold holds for: how far an answer stands over "no answer"; see `Calibration.threshold_of`."""
    if calibration is None or calibration.threshold_of == "margin":
        return answer.margin
    return log_odds(answer.probability) - log_odds(no_answer_probability)


def best(hits: Sequence[Hit], readings: Sequence[Reading]) -> tuple[Evidence, Features] | None:
    """The best answer and what its probability hangs on; None where no passage has a token."""
    groups = _groups(hits, readings)
    return (groups[0][0], next(_features(groups))) if groups else None


def _over(answers: Sequence[Answer], no_answer: float, least: float, calibration: Calibration | None) -> list[Answer]:
    """The answers that reach a threshold; their further evidence is what the reader prefers to "no answer"."""

    def backed(answer: Answer) -> Answer:
        first, *more = answer.evidence
        return replace(answer, evidence=(first, *(item for item in more if item.margin >= min(least, 0.0))))

    return [backed(answer) for answer in answers if over_no_answer(answer, no_answer, calibration) >= least]


def _no_answer_probability(
    answers: Sequence[Answer], features: Sequence[Features], calibration: Calibration | None
) -> float:
    if not answers:
        return 1.0
    return 1 - answers[0].probability if calibration is None else calibration.no_answer.probability(features[0])


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


def _groups(hits: Sequence[Hit], readings: Sequence[Reading]) -> list[list[Evidence]]:
    """Equal answers together, best first, and in each group its evidence, best first."""
    found = [item for hit, reading in zip(hits, readings, strict=True) for item in _evidence(hit, reading)]
    groups: dict[str, list[Evidence]] = {}
    for item in sorted(found, key=_order):
        groups.setdefault(normalize_answer(item.text) or item.text, []).append(item)
    return [_distinct(group) for group in groups.values()]


def _features(groups: Sequence[Sequence[Evidence]]) -> Iterator[Features]:
    scores = [group[0].score for group in groups]
    for row, group in enumerate(groups):
        score = scores[row]
        rival = scores[1 if row == 0 else 0] if len(scores) > 1 else -math.inf
        yield Features(
            score=score,
            relevance=score - group[0].margin,
            lead=max(-FARTHEST, min(FARTHEST, score - rival)),
            support=math.log(sum(math.exp(item.score - score) for item in group)),
        )


def _answer(group: Sequence[Evidence], chance: float) -> Answer:
    first = {field.name: getattr(group[0], field.name) for field in fields(Evidence)}
    return Answer(**first, probability=chance, evidence=tuple(group))


def _distinct(group: Sequence[Evidence]) -> list[Evidence]:
    """Overlapping passages of a document show the same place twice: keep it once, with its best score."""
    places = {(item.document_id, item.start, item.end): item for item in reversed(group)}
    return sorted(places.values(), key=_order)


def probability(score: float) -> float:
    """The logistic function of the score: the reader's own odds of its span against "no answer"."""
    return logistic(score)
