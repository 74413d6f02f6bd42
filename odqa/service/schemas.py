"""What goes over the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from odqa.service.settings import (
    MAX_CONTEXT_LENGTH,
    MAX_DOCUMENTS,
    MAX_HEADING_LENGTH,
    MAX_ID_LENGTH,
    MAX_N_BEST,
    MAX_PAGE,
    MAX_QUESTION_LENGTH,
    MAX_QUESTIONS,
    MAX_SECTIONS,
    MAX_TEXT_LENGTH,
    MAX_TOP_K,
)
from odqa.types import Abstain, Document, Evidence, Hit, Result, Section, section_at


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Question = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_LENGTH, pattern=r"\S")]
Questions = Annotated[list[Question], Field(min_length=1, max_length=MAX_QUESTIONS)]
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K), BeforeValidator(_whole)]
NBest = Annotated[int, Field(ge=1, le=MAX_N_BEST), BeforeValidator(_whole)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=100)]
MetadataText = Annotated[str, Field(max_length=10_000)]
MetadataNumber = Annotated[int, Field(ge=-(2**53), le=2**53)]
MetadataValue = MetadataText | bool | MetadataNumber | Annotated[float, Field(allow_inf_nan=False)] | None
Where = Annotated[str, Field(min_length=1, max_length=2_000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


_WHERE = 'Ask only documents that meet this filter, such as year >= 1990 and title = "Normans".'


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Choices(_Request):
    n_best: NBest | None = Field(None, description="Answers at most.")
    abstain: Annotated[Abstain, Field(strict=False)] = Field(
        Abstain.THRESHOLD, description='When to say "no answer": under the null threshold, or never.'
    )
    max_risk: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Answer only where the probability of being wrong is at most this; overrides abstain."
    )
    timeout: Seconds | None = Field(None, description="Seconds to wait at most; the server has a limit of its own.")


class AskRequest(_Choices):
    """A question, or several, for the index."""

    question: Question | Questions = Field(description="One question, or a list of them.")
    top_k: TopK | None = Field(None, description="Passages to read for each question.")
    where: Where | None = Field(None, description=_WHERE)

    model_config = ConfigDict(json_schema_extra={"example": {"question": "In what country is Normandy located?"}})


class ReadRequest(_Choices):
    """A question, or several, about a text that comes along."""

    question: Question | Questions = Field(description="One question, or a list of them.")
    context: Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)] = Field(description="The text to read.")

    model_config = ConfigDict(
        json_schema_extra={"example": {"question": "Where is Warsaw?", "context": "Warsaw is in Poland."}}
    )


class RetrieveRequest(_Request):
    """A question, or several, to find passages for."""

    question: Question | Questions = Field(description="One question, or a list of them.")
    top_k: TopK | None = Field(None, description="Passages to find for each question.")
    where: Where | None = Field(None, description=_WHERE)
    timeout: Seconds | None = Field(None, description="Seconds to wait at most; the server has a limit of its own.")

    model_config = ConfigDict(json_schema_extra={"example": {"question": "Who led the Normans?", "top_k": 3}})


class SectionBody(_Request):
    """Where a page or a heading begins in a document; it lasts until the next section."""

    start: Annotated[int, Field(ge=0, lt=MAX_TEXT_LENGTH), BeforeValidator(_whole)] = Field(
        description="Offset in the text, in code points."
    )
    page: Annotated[int, Field(ge=0, le=MAX_PAGE), BeforeValidator(_whole)] | None = Field(
        None, description="Number of the page, shown with the answers on it."
    )
    heading: Annotated[str, Field(max_length=MAX_HEADING_LENGTH)] | None = Field(
        None, description="Heading, shown with the answers under it."
    )


class DocumentBody(_Request):
    """A document: its text, and what else is known about it."""

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"\S")]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH, pattern=r"\w")]
    title: Annotated[str, Field(max_length=MAX_QUESTION_LENGTH)] = ""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=100)] = {}
    sections: Annotated[list[SectionBody], Field(max_length=MAX_SECTIONS)] = Field(
        [], description="Where its pages and headings begin, in any order; each start lies within the text."
    )

    @field_validator("sections")
    @classmethod
    def _within_the_text(cls, sections: list[SectionBody], info: ValidationInfo) -> list[SectionBody]:
        text = info.data.get("text")
        if text is not None and any(section.start >= len(text) for section in sections):
            raise PydanticCustomError("section_start", "A section starts after the end of the text")
        return sections


class DocumentsRequest(_Request):
    """Documents to add; one whose id is there replaces the one that was."""

    documents: Annotated[list[DocumentBody], Field(min_length=1, max_length=MAX_DOCUMENTS)]

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "documents": [
                    {
                        "id": "warsaw",
                        "title": "Warsaw",
                        "text": "Warsaw is ...",
                        "sections": [{"start": 0, "page": 1, "heading": "Cities"}],
                    }
                ]
            }
        }
    )


class Stored(_Reply):
    """Documents are on the disk, and the next search sees them; `replaced` of them were there before."""

    stored: int
    replaced: int
    generation: int
    request_id: str


class Removed(_Reply):
    """A document is gone, and the next search doesn't see it."""

    removed: str
    generation: int
    request_id: str


class EvidenceReply(_Reply):
    """A place that supports an answer. Offsets count code points; `before + answer + after` is the passage."""

    text: str
    score: float
    margin: float
    document_id: str
    title: str
    start: int
    end: int
    passage: str
    passage_start: int
    page: int | None
    heading: str | None
    metadata: dict[str, str | int | float | bool | None]
    before: str
    answer: str
    after: str


class AnswerReply(EvidenceReply):
    """An answer with the probability that it is right, and all places that agree with it."""

    probability: float
    evidence: list[EvidenceReply]


class PassageReadReply(_Reply):
    """A passage that was found; its margin is null where it was not read, or has nothing to read."""

    document_id: str
    title: str
    start: int
    end: int
    text: str
    retrieval_score: float
    margin: float | None


class ResultReply(_Reply):
    """All that is known about one question; `timings` are seconds by stage, the first `passages_read` were read."""

    question: str
    answers: list[AnswerReply]
    no_answer: bool
    no_answer_probability: float
    timings: dict[str, float]
    index: str
    generation: int
    pipeline: str
    passages: list[PassageReadReply]
    passages_read: int


class OneResult(ResultReply):
    """The result of a single question."""

    request_id: str


class ManyResults(_Reply):
    """The results of a list of questions, in its order."""

    results: list[ResultReply]
    request_id: str


class HitReply(_Reply):
    """A retrieved passage; `dense` and `sparse` are null where the recipe doesn't ask that side."""

    document_id: str
    title: str
    start: int
    end: int
    text: str
    score: float
    relevance: float
    dense: float | None
    sparse: float | None
    page: int | None
    heading: str | None
    metadata: dict[str, str | int | float | bool | None]


class Found(_Reply):
    """The passages for one question, best first."""

    question: str
    passages: list[HitReply]


class OneFound(Found):
    """The passages for a single question."""

    index: str
    generation: int
    timings: dict[str, float]
    request_id: str


class ManyFound(_Reply):
    """The passages for a list of questions, in its order."""

    results: list[Found]
    index: str
    generation: int
    timings: dict[str, float]
    request_id: str


class Limits(_Reply):
    """What a request may ask for at most."""

    questions: int
    question_length: int
    context_length: int
    top_k: int
    n_best: int
    seconds: float


class Defaults(_Reply):
    """What holds where a request says nothing; what is read alone has a threshold of the reader's own."""

    top_k: int
    n_best: int
    null_threshold: float = Field(description="Least that an answer to the index must stand over no answer.")
    threshold_of: str = Field(description="What that is measured in: margin, or probabilities, in log-odds.")


class IndexReply(_Reply):
    """The index that is served, and by what."""

    index: str
    generation: int
    created: str
    documents: int
    passages: int
    bytes: int
    embedder: str
    dimension: int
    description: str
    licence: str
    risks: list[float] = Field(description="Risks that max_risk can promise, falling; none where none is certified.")
    pipeline: str
    version: str
    defaults: Defaults
    limits: Limits
    request_id: str


class Health(BaseModel):
    """Whether the process is alive, or ready to answer."""

    status: str


class Failure(BaseModel):
    """What went wrong, in one sentence."""

    error: str
    request_id: str


def document_of(body: DocumentBody) -> Document:
    """The document that came over the wire, its sections by rising start."""
    sections = sorted(body.sections, key=lambda section: section.start)
    made = tuple(Section(section.start, section.page, section.heading) for section in sections)
    return Document(body.id, body.text, body.title, body.metadata, made)


def result_body(result: Result, *, waited: float) -> dict[str, Any]:
    """A result for the wire, each passage parted at its answer, with the seconds that it `waited`."""
    body = result.to_dict()
    for answer, made in zip(result.answers, body["answers"], strict=True):
        made.update(_parts(answer))
        for item, told in zip(answer.evidence, made["evidence"], strict=True):
            told.update(_parts(item))
    body["timings"] = {"queue": waited, **result.timings}
    return body


def hit_body(hit: Hit) -> dict[str, Any]:
    """A retrieved passage for the wire."""
    passage = hit.passage
    section = section_at(passage.sections, passage.start)
    return {
        "document_id": passage.document_id,
        "title": passage.title,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
        "score": hit.score,
        "relevance": hit.relevance,
        "dense": hit.dense,
        "sparse": hit.sparse,
        "page": section.page,
        "heading": section.heading,
        "metadata": dict(passage.metadata),
    }


def _parts(item: Evidence) -> dict[str, str]:
    return dict(zip(("before", "answer", "after"), item.parts(), strict=True))
