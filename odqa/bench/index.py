"""An index of made-up passages, words by Zipf's law and real embeddings with noise: built, then searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import config
from odqa.bench.machine import machine
from odqa.bench.report import Report
from odqa.corpus import read_documents
from odqa.embedder import Embedder
from odqa.index import Index, build, files, store, tuning
from odqa.index.vectors import check_factory, check_merged
from odqa.recipes import Card, Mode, RetrieverRecipe, TermsCard
from odqa.retriever import Retriever
from odqa.types import Document, Passage

_NAME = "odqa-bench"
_QUESTIONS = 100
_SEEDS = 300
_VOCABULARY = 200_000
_BLOCK = 10_000
_NOISE = 0.6
"""Length of the noise added to a unit vector: its neighbours are a cloud around it, as passages of an article are."""


def measure(passages: int, factories: Sequence[str], *, gpu: bool = False) -> Report:
    """Build and search an index of so many passages for each of FAISS's factory strings.

    Args:
        passages: How many.
        factories: FAISS's factory strings.
        gpu: Search the vectors on the first GPU, too.

    Raises:
        ConfigError: FAISS doesn't know a factory, or there is no GPU for it.
    """
    for factory in factories:
        check_factory(factory)
        if gpu:
            check_merged(factory, gpu=True)
    rows = [_measured(passages, factory, gpu=gpu) for factory in factories]
    return Report("index", {"passages": passages, "questions": _QUESTIONS}, rows, machine(), {})


def _measured(passages: int, factory: str, *, gpu: bool) -> dict[str, Any]:
    """Build in this process, search in a fresh one, whose memory is then that of searching alone."""
    folder = config.cache_folder() / "bench" / _NAME
    files.remove(folder)
    files.make_folder(folder)
    maker = _Maker()
    begin = perf_counter()
    with store.locked(folder):
        report = build.build(
            folder, _documents(passages), card=_card(factory), embedder=maker, splitter=maker, number=1
        )
    built = perf_counter() - begin
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        searched = pool.submit(_search, folder, gpu=gpu).result()
    files.remove(folder)
    row = {"factory": factory, "passages": passages, "segments": report.segments, "GB": round(report.size / 1e9, 2)}
    return row | {"build s": round(built)} | searched


def _card(factory: str) -> Card:
    """Without pairs of words, of which made-up text has hardly one twice, and sentences, of which it has one."""
    return Card(factory=factory, sentences=False, terms=TermsCard(pairs=0))


class _Maker:
    """An embedder and a splitter for documents that are one passage each and begin with their number."""

    name = "bench"
    fingerprint = "bench"

    def __init__(self) -> None:
        self._seeds = _seeds()
        self.dimension = self._seeds.shape[1]

    def split(self, document: Document) -> list[Passage]:
        return [Passage(document.id, document.text)]

    def embed_passages(self, passages: list[str], *, description: str = "") -> NDArray[np.float32]:  # noqa: ARG002
        """A real embedding for each number, with noise that the number decides."""
        numbers = np.array([int(text.split(" ", 1)[0]) for text in passages])
        return _jittered(self._seeds, numbers, seed=int(numbers[0]))

    def embed_sentences(
        self, passages: list[str], *, description: str = ""
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Each passage is one sentence."""
        vectors = self.embed_passages(passages, description=description)
        return vectors, list(vectors[:, None])


def _jittered(seeds: NDArray[np.float32], numbers: NDArray[np.int64], *, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((len(numbers), seeds.shape[1]), dtype=np.float32)
    return np.asarray(seeds[numbers % len(seeds)] + noise * np.float32(_NOISE / seeds.shape[1] ** 0.5))


@cache
def _seeds() -> NDArray[np.float32]:
    """Embeddings of some of the bundled paragraphs."""
    documents = islice(read_documents(config.source_path("bundled/squad2-dev.jsonl.gz")), _SEEDS)
    return Embedder(Card().embedder).embed_passages([document.text for document in documents])


def _documents(count: int) -> Iterator[Document]:
    """Documents of 20 to 80 words drawn by Zipf's law."""
    chance, words = np.random.default_rng(0), _words()
    for at in range(0, count, _BLOCK):
        lengths = chance.integers(20, 80, min(_BLOCK, count - at))
        drawn = words[_zipf(chance, int(lengths.sum()))]
        for number, some in enumerate(np.split(drawn, np.cumsum(lengths)[:-1]), at):
            yield Document(str(number), f"{number} {' '.join(some)}", metadata={"year": 1900 + number % 120})


def _words() -> NDArray[Any]:
    return np.array([f"word{number:x}" for number in range(_VOCABULARY)], dtype=object)


def _zipf(chance: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Ranks r with a chance in proportion to 1 / r."""
    return np.asarray((_VOCABULARY ** chance.random(count)).astype(np.int64) - 1)


def _search(folder: Path, *, gpu: bool) -> dict[str, Any]:
    """Times in milliseconds for each question, recall@10 against exact search, what memory searching took at most."""
    before = _peak()
    begin = perf_counter()
    opened = Index(folder)
    found: dict[str, Any] = {"open s": round(perf_counter() - begin, 2)}
    asker = _Asker(opened)
    for mode in Mode:
        found |= _times(str(mode), asker, Retriever(opened, RetrieverRecipe(mode=mode), embedder=asker))  # type: ignore[arg-type]
    found["GB of memory"] = round(_peak() - before, 2)
    found["recall@10"] = round(asker.recall(), 3)
    for mode in (Mode.DENSE, Mode.HYBRID) if gpu else ():
        retriever = Retriever(opened, RetrieverRecipe(mode=mode, gpu=True), embedder=asker)  # type: ignore[arg-type]
        found |= _times(f"{mode} on GPU", asker, retriever)
    return found


def _times(name: str, asker: _Asker, retriever: Retriever) -> dict[str, float]:
    times = [_timed(retriever, question) for question in asker.questions]
    return {f"{name} p{rank} ms": round(float(np.percentile(times, rank)), 1) for rank in (50, 95)}


def _peak() -> float:
    """The most memory that this process had, in GB, mapped files included; not a number where Linux doesn't tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM:")), float("nan"))


def _timed(retriever: Retriever, question: str) -> float:
    begin = perf_counter()
    retriever.retrieve([question], top_k=10)
    return 1000 * (perf_counter() - begin)


class _Asker:
    """Questions of eight words, each with the noisy embedding of a passage."""

    fingerprint = "bench"

    def __init__(self, opened: Index) -> None:
        self._index = opened
        chance, words = np.random.default_rng(1), _words()
        self.questions = [" ".join(words[_zipf(chance, 8)]) for _ in range(_QUESTIONS)]
        rows = chance.integers(0, len(opened), _QUESTIONS)
        near = np.stack([opened.vector(int(row)) for row in rows])
        vectors = _jittered(near, np.arange(_QUESTIONS), seed=2)
        self._vectors = dict(zip(self.questions, vectors, strict=True))

    def embed_questions(self, questions: list[str]) -> NDArray[np.float32]:
        return np.stack([self._vectors[question] for question in questions])

    def recall(self) -> float:
        """The share of the ten nearest passages that the index finds; ties and noise of the codec count against it."""
        queries = np.stack(list(self._vectors.values()))
        truth = self._index.exact(queries, tuning.K)
        near = self._index.nearest(queries, tuning.K)
        return float(np.mean([np.isin(want, got).mean() for want, got in zip(truth, near, strict=True)]))
