"""The records that travel between the parts of odqa. All offsets are code points, all spans half-open."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Scalar = str | int | float | bool | None
"""A metadata value."""


class Abstain(StrEnum):
    """When a result may be "no answer"."""

    THRESHOLD = "threshold"
    """Drop what stands under the null threshold."""
    NEVER = "never"
    """Always give the best span."""


@dataclass(frozen=True, slots=True)
class Section:
    """Where a page or a heading begins in a document; it lasts until the next section."""

    start: int
    page: int | None = None
    heading: str | None = None


NO_SECTION = Section(0)


def section_at(sections: tuple[Section, ...], offset: int) -> Section:
    """The section that holds `offset`, given sections sorted by `start`."""
    place = bisect_right(sections, offset, key=lambda section: section.start)
    return sections[place - 1] if place else NO_SECTION


@dataclass(frozen=True, slots=True)
class Document:
    """A source text with an id and a title."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """The piece of a document that is embedded and read: `document.text[start:end] == text`."""

    document_id: str
    text: str
    start: int = 0
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()

    @property
    def end(self) -> int:
        """Offset in the document after the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved passage.

    `dense` is the cosine of its best sentence, `sparse` BM25 over what the question could reach at most, `relevance`
    the log-odds that this is the passage asked about, 0 where the asker gave the passage or the recipe fits none.
    """

    passage: Passage
    score: float
    relevance: float = 0.0
    dense: float | None = None
    sparse: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer in one passage; `margin` = its raw logit sum - the null score of its window."""

    start: int
    end: int
    margin: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader found in one passage: spans by falling margin. A passage of no token has none."""

    spans: tuple[Span, ...]

    @property
    def margin(self) -> float:
        """The passage's margin: that of its best span, over all of its windows."""
        return self.spans[0].margin if self.spans else float("-inf")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place that supports an answer: `start` and `end` count in the document, as `passage_start` does."""

    text: str
    score: float
    margin: float
    document_id: str
    title: str
    start: int
    end: int
    passage: str
    passage_start: int
    page: int | None = None
    heading: str | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def parts(self) -> tuple[str, str, str]:
        """The passage as (before, answer, after)."""
        start, end = self.start - self.passage_start, self.end - self.passage_start
        return self.passage[:start], self.passage[start:end], self.passage[end:]


@dataclass(frozen=True, slots=True)
class Answer(Evidence):
    """An answer: its best evidence, the probability that it is right, and all places that agree with it."""

    probability: float = 0.0
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class PassageRead:
    """A passage that was found for a question; its margin is None where it was not read, or has nothing to read."""

    document_id: str
    title: str
    start: int
    end: int
    text: str
    retrieval_score: float
    margin: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """All that is known about one question.

    `timings` are seconds by stage; `passages` are by falling retrieval score, and the first `passages_read` were read.
    """

    question: str
    answers: tuple[Answer, ...]
    no_answer: bool
    no_answer_probability: float
    timings: Mapping[str, float]
    index: str
    generation: int
    pipeline: str
    passages: tuple[PassageRead, ...] = ()
    passages_read: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, ready for JSON."""
        return asdict(self)
