"""What the benchmarks ask and read: questions of a data set, questions given, or questions made from titles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import NamedTuple, TypeVar

from odqa import config
from odqa.bench.report import BenchError
from odqa.corpus import read_documents
from odqa.evaluation import dataset
from odqa.types import Document

T = TypeVar("T")

CORPUS = "bundled/squad2-dev.jsonl.gz"
_MADE = ("When was {} first described?", "Who is best known for {}?", "Where did {} begin?", "What is {} made of?")


class Task(NamedTuple):
    """A question, and the passages to find its answer in; a list of the two in JSON."""

    question: str
    passages: tuple[str, ...]


def texts(source: str | None, count: int) -> list[str]:
    """Distinct texts of a source of documents, or of the bundled corpus; `count` of them at most.

    Raises:
        CorpusError: the source can't be read.
        BenchError: it holds no text.
    """
    found = list(dict.fromkeys(document.text for document in _documents(source)))
    return _some(found, count, source or "The bundled corpus")


def tasks(data: str | None, given: Sequence[str], *, pairs: int, top_k: int) -> tuple[list[Task], list[Task]]:
    """About `pairs` question-passage pairs twice: each a task of its own, and in tasks of `top_k` passages.

    A task's first passage is the one that its question was asked about, the others are those that follow it.

    Args:
        data: Questions with their passages, in SQuAD form; the bundled corpus where None.
        given: Questions to ask of the bundled corpus; made from its titles where there are none.
        pairs: Question-passage pairs of each of the two; fewer where there are not as many.
        top_k: Passages of each question of the second.

    Raises:
        DataError: the data set can't be read.
        BenchError: it holds no questions.
    """
    asked = _pairs(data, given)
    contexts = list(dict.fromkeys(context for _, context in asked))
    places = {context: place for place, context in enumerate(contexts)}
    around = range(min(top_k, len(contexts)))
    single = [Task(question, (context,)) for question, context in _some(asked, pairs, data or "The bundled corpus")]
    together = [
        Task(question, tuple(contexts[(places[context] + step) % len(contexts)] for step in around))
        for question, context in _some(asked, -(-pairs // top_k), data or "The bundled corpus")
    ]
    return single, together


def questions(documents: Iterable[Document], data: str | None, given: Sequence[str], *, count: int) -> list[str]:
    """Questions for an index: those given, those of a data set, or some made from the titles of its documents.

    Raises:
        DataError: the data set can't be read.
        BenchError: there is nothing to ask about.
    """
    if given:
        return list(islice(cycle(given), max(count, len(given))))
    if data is not None:
        return _some([one.question for one in dataset.load(data, need_context=False)], count, data)
    titles = list(dict.fromkeys(document.title or document.id for document in documents))
    return _some([template.format(title) for title in titles for template in _MADE], count, "The index")


def _pairs(data: str | None, given: Sequence[str]) -> list[tuple[str, str]]:
    if data is not None:
        return [(one.question, one.context) for one in dataset.load(data)]
    documents = list(_documents(None))
    made = (template.format(document.title) for document, template in zip(documents, cycle(_MADE), strict=False))
    asked = cycle(given) if given else made
    return [(question, document.text) for question, document in zip(asked, documents, strict=False)]


def _documents(source: str | None) -> Iterable[Document]:
    return read_documents(config.source_path(CORPUS) if source is None else source)


def _some(found: Sequence[T], count: int, source: str) -> list[T]:
    """`count` of what was found, evenly spread, or all of it."""
    if not found:
        raise BenchError(f"{source} holds nothing to measure on.")
    step = max(1.0, len(found) / count)
    return [found[int(number * step)] for number in range(min(count, len(found)))]
