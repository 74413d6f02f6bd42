"""What a pipeline answers at several `top_k` from one reading, and what its reader finds in the gold passage."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from odqa.errors import DataError
from odqa.evaluation.dataset import Question
from odqa.evaluation.outcomes import NO_SPAN
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Calibration, Reader
from odqa.reader.ranking import over_no_answer
from odqa.text import normalize_answer
from odqa.types import Answer, PassageRead, Reading, Result, Span


@dataclass(frozen=True, slots=True)
class Best:
    """The best answer to a question, given or not; `start` and `end` count in the passage.

    `over_no_answer` is what the null threshold holds for.
    """

    text: str
    start: int
    end: int
    score: float
    margin: float
    probability: float
    over_no_answer: float
    document_id: str
    title: str
    passage: str


@dataclass(frozen=True, slots=True)
class Found:
    """What `top_k` passages hold: the best answer, where one has a token, and the gold passage's rank, from 1.

    `passages` counts those that were read, among which the gold passage is looked for. `instead` is the answer that is
    given where the null threshold drops the best one but not all others, as it may where it holds for the margin.
    """

    best: Best | None
    gold_rank: int | None
    passages: int
    instead: Best | None = None

    @property
    def given(self) -> Best | None:
        """The answer that stands at the null threshold; the best one where that drops all."""
        return self.instead or self.best


@dataclass(frozen=True, slots=True)
class Answered:
    """A question through the pipeline.

    Attributes:
        id: Of the question.
        at: What was found, by `top_k`.
        gold: The best span of the question's own passage; None where that holds no token or is not known.
        seconds: The question's share of its batch, by stage, for the largest `top_k`.
    """

    id: str
    at: Mapping[int, Found]
    gold: Span | None
    seconds: Mapping[str, float]


class _ReadOnce(Reader):
    """A loaded reader that reads each question and passage once, however often it is asked."""

    def __init__(self, reader: Reader) -> None:
        vars(self).update(vars(reader))
        self._known: dict[tuple[str, str], Reading] = {}

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        new = list(dict.fromkeys(pair for pair in pairs if pair not in self._known))
        self._known.update(zip(new, super().read(new), strict=True))
        return [self._known[pair] for pair in pairs]


def ask(pipeline: Pipeline, questions: Sequence[Question], top_ks: Sequence[int]) -> list[Answered]:
    """Ask a batch of questions, each forced to answer; every passage is read once, for the largest `top_k`.

    A question's gold passage is its document's, or, without a document, the first that holds an answer string.
    """
    reader = _ReadOnce(pipeline.reader)
    asked = Pipeline(pipeline.retriever, reader, name=pipeline.name, calibration=pipeline.calibration)
    texts = [question.question for question in questions]
    results = {
        top_k: asked.answer_batch(texts, top_k=top_k, n_best=sys.maxsize, abstain="never")
        for top_k in sorted(top_ks, reverse=True)
    }
    begin = time.perf_counter()
    spans = _gold_spans(reader, questions)
    stages = {**results[max(top_ks)][0].timings, "read the gold passage": time.perf_counter() - begin}
    seconds = {stage: taken / len(questions) for stage, taken in stages.items()}
    return [
        Answered(
            question.id,
            {top_k: _found(question, results[top_k][row], asked) for top_k in top_ks},
            spans.get(question.id),
            seconds,
        )
        for row, question in enumerate(questions)
    ]


def with_known_documents(index: Index, questions: Sequence[Question]) -> list[Question]:
    """Hold the questions' documents against those of the index.

    Where the index holds none of them, as one made from other texts does, they are left away, and retrieval is judged
    by answer strings.

    Raises:
        DataError: the index holds some of them only.
    """
    asked = {question.document_id for question in questions} - {""}
    missing = sorted(asked - {passage.document_id for passage in index.passages()})
    if missing and len(missing) < len(asked):
        raise DataError(
            f'Index "{index.name}" lacks {len(missing)} of the {len(asked)} documents asked about, the first '
            f'"{missing[0]}". Build it from the same documents, or give questions without a "document_id".'
        )
    return [_without_document(question) if missing else question for question in questions]


def holds_answer(passage: str, question: Question) -> bool:
    """Whether one of the question's answers stands in the passage, word by word after SQuAD normalisation.

    Source: Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering".
    """
    words = f" {normalize_answer(passage)} "
    answers = (normalize_answer(answer.text) for answer in question.answers)
    return any(f" {answer} " in words for answer in answers if answer)


def is_gold(document_id: str, passage: str, question: Question) -> bool:
    """Whether a passage is of the question's document, or, without one, holds an answer string."""
    return document_id == question.document_id if question.document_id else holds_answer(passage, question)


def _without_document(question: Question) -> Question:
    return replace(question, document_id="")


def _gold_spans(reader: Reader, questions: Sequence[Question]) -> dict[str, Span]:
    known = [question for question in questions if question.context]
    readings = reader.read([(question.question, question.context) for question in known])
    spans = {question.id: next(iter(read.spans), NO_SPAN) for question, read in zip(known, readings, strict=True)}
    return {name: span for name, span in spans.items() if span is not NO_SPAN}


def _found(question: Question, result: Result, pipeline: Pipeline) -> Found:
    read = result.passages[: result.passages_read]
    ranked = [_answer(answer, result.no_answer_probability, pipeline.calibration) for answer in result.answers]
    best = ranked[0] if ranked else None
    given = next((one for one in ranked if one.over_no_answer >= pipeline.null_threshold), best)
    return Found(best, _gold_rank(question, read), len(read), None if given is best else given)


def _answer(answer: Answer, no_answer_probability: float, calibration: Calibration | None) -> Best:
    return Best(
        text=answer.text,
        start=answer.start - answer.passage_start,
        end=answer.end - answer.passage_start,
        score=answer.score,
        margin=answer.margin,
        probability=answer.probability,
        over_no_answer=over_no_answer(answer, no_answer_probability, calibration),
        document_id=answer.document_id,
        title=answer.title,
        passage=answer.passage,
    )


def _gold_rank(question: Question, passages: Sequence[PassageRead]) -> int | None:
    ranked = enumerate(passages, 1)
    return next((rank for rank, one in ranked if is_gold(one.document_id, one.text, question)), None)
