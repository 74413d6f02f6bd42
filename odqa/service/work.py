"""The work of the service's one thread: questions over the index, questions over a text, passages for questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odqa.pipeline import Pipeline
from odqa.types import Abstain, Hit, Result

_CHARACTERS_A_TOKEN = 4
_OVERHEAD_TOKENS = 40
"""What retrieving, and what is the same for every piece, takes beside the tokens that are read."""
_WINDOW_OVERHEAD = 1.5


@dataclass(frozen=True, slots=True)
class Options:
    """How a request wants its answers; what is None comes from the recipe."""

    top_k: int | None = None
    where: str | None = None
    n_best: int | None = None
    abstain: Abstain = Abstain.THRESHOLD
    max_risk: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A question for the index."""

    question: str
    options: Options


@dataclass(frozen=True, slots=True)
class Read:
    """A question about a text."""

    question: str
    context: str
    options: Options


@dataclass(frozen=True, slots=True)
class Retrieve:
    """A question to find passages for."""

    question: str
    options: Options


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The passages of a question, in one generation of an index, and the seconds it took."""

    hits: tuple[Hit, ...]
    index: str
    generation: int
    timings: dict[str, float]


Work = Ask | Read | Retrieve
Outcome = Result | Retrieved


def do(pipeline: Pipeline, works: Sequence[Work]) -> list[Outcome]:
    """The outcomes of mixed work, in order; what can go through the models together does."""
    groups: dict[Hashable, list[int]] = {}
    for place, work in enumerate(works):
        groups.setdefault(_group(work), []).append(place)
    outcomes: dict[int, Outcome] = {}
    for places in groups.values():
        mine = [works[place] for place in places]
        outcomes.update(zip(places, _DOERS[type(mine[0])](pipeline, mine), strict=True))
    return [outcomes[place] for place in range(len(works))]


def cost(work: Work, *, passage_length: float, top_k: int) -> int:
    """Estimated tokens of a piece of work.

    Args:
        work: What is to be done.
        passage_length: Characters of a passage of the index, on average.
        top_k: Passages read where the request doesn't say how many.
    """
    question = len(work.question) / _CHARACTERS_A_TOKEN
    if isinstance(work, Retrieve):
        return int(question) + _OVERHEAD_TOKENS
    if isinstance(work, Read):
        return int(question + _WINDOW_OVERHEAD * len(work.context) / _CHARACTERS_A_TOKEN) + _OVERHEAD_TOKENS
    passages = top_k if work.options.top_k is None else work.options.top_k
    return int(passages * (question + passage_length / _CHARACTERS_A_TOKEN)) + _OVERHEAD_TOKENS


def _group(work: Work) -> Hashable:
    return (type(work), work.options)


def _ask(pipeline: Pipeline, works: Sequence[Any]) -> Sequence[Outcome]:
    options: Options = works[0].options
    return pipeline.answer_batch(
        [work.question for work in works],
        top_k=options.top_k,
        where=options.where,
        n_best=options.n_best,
        abstain=options.abstain,
        max_risk=options.max_risk,
    )


def _read(pipeline: Pipeline, works: Sequence[Any]) -> Sequence[Outcome]:
    options: Options = works[0].options
    results = pipeline.reader.answer_batch(
        [(work.question, work.context) for work in works],
        n_best=options.n_best,
        abstain=options.abstain,
        max_risk=options.max_risk,
    )
    return [replace(result, pipeline=pipeline.name) for result in results]


def _retrieve(pipeline: Pipeline, works: Sequence[Any]) -> Sequence[Outcome]:
    index, begin = pipeline.retriever.index, time.perf_counter()
    options: Options = works[0].options
    found = pipeline.retriever.retrieve([work.question for work in works], top_k=options.top_k, where=options.where)
    timings = {"retrieve": time.perf_counter() - begin}
    return [Retrieved(tuple(hits), index.name, index.generation.number, timings) for hits in found]


_DOERS: dict[type, Callable[[Pipeline, Sequence[Any]], Sequence[Outcome]]] = {
    Ask: _ask,
    Read: _read,
    Retrieve: _retrieve,
}
