"""Questions to passages, over an index: each side alone, both together, and approximate search against exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from odqa.bench import work
from odqa.bench.machine import machine
from odqa.bench.report import Report, Value
from odqa.bench.rounds import times
from odqa.embedder import Embedder
from odqa.index import Index
from odqa.recipes import Mode, RetrieverRecipe
from odqa.retriever import Retriever

_BATCH = 32


def measure(
    recipe: RetrieverRecipe,
    index: str,
    *,
    questions: Sequence[str] = (),
    data: str | None = None,
    count: int = 100,
    top_k: int = 10,
) -> Report:
    """Search an index one question at a time, and in batches.

    Args:
        recipe: How to search; its mode is left out, all of them are measured.
        index: The index's name.
        questions: What to ask; those of `data` where none are given, else some made from the index's titles.
        data: Questions in SQuAD form.
        count: Questions to ask.
        top_k: Passages to find for each.

    Returns:
        Times alone and rates in batches; for vectors also recall against exact search and how much slower that is.

    Raises:
        StoredIndexError: the index can't be opened.
        DataError: the data can't be read.
        BenchError: there is nothing to ask.
    """
    opened = Index.open(index)
    asked = work.questions(opened.documents(), data, questions, count=count)
    embedder = Embedder(opened.generation.embedder.name)
    rows = [_row("embed the question", embedder.embed_questions, asked)]
    for mode in Mode:
        retriever = Retriever(opened, recipe.model_copy(update={"mode": mode}), embedder=embedder)
        rows.append(_row(f"{mode} search", partial(retriever.retrieve, top_k=top_k), asked))
    rows += _vectors(opened, embedder, asked, top_k)
    settings: dict[str, Value] = {"index": opened.name, "factory": opened.generation.card.factory}
    settings |= {"passages": len(opened), "top_k": top_k, "questions": len(asked)}
    return Report("search", settings, rows, machine(), {})


def _vectors(opened: Index, embedder: Embedder, asked: Sequence[str], top_k: int) -> list[dict[str, Value]]:
    """Vectors alone, as the index searches and looking at all of them."""
    vectors = dict(zip(asked, embedder.embed_questions(asked), strict=True))

    def near(some: Sequence[str]) -> list[set[int]]:
        return [set(rows.tolist()) for rows in opened.nearest(np.stack([vectors[one] for one in some]), top_k)]

    def exact(some: Sequence[str]) -> list[set[int]]:
        return [set(rows.tolist()) for rows in opened.exact(np.stack([vectors[one] for one in some]), top_k)]

    found, every = _row("vectors, as the index searches", near, asked), _row("vectors, every one", exact, asked)
    ratio = float(str(every["p50 ms"])) / float(str(found["p50 ms"]))
    recall = float(np.mean([len(got & want) / len(want) for got, want in zip(near(asked), exact(asked), strict=True)]))
    return [{**found, "ratio": 1.0, "recall": recall}, {**every, "ratio": ratio, "recall": 1.0}]


def _row(name: str, function: Callable[[Sequence[str]], object], asked: Sequence[str]) -> dict[str, Value]:
    alone = [seconds for seconds, _ in times(lambda one: function([one]), asked, name)]
    blocks = [asked[at : at + _BATCH] for at in range(0, len(asked), _BATCH)]
    together = sum(seconds for seconds, _ in times(function, blocks, f"{name}, {_BATCH} at once"))
    p50, p95 = (float(percentile) * 1000 for percentile in np.percentile(alone, [50, 95]))
    return {"what": name, "p50 ms": p50, "p95 ms": p95, f"questions/s, {_BATCH} at once": len(asked) / together}
