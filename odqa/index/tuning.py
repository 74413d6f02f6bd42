"""How far an approximate search must look to reach a recall, measured against exact search on a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odqa import progress
from odqa.index.generation import Tuning
from odqa.index.vectors import Vectors

_QUERIES = 200
K = 10


def sample(vectors: Sequence[Vectors], count: int) -> NDArray[np.float32]:
    """About `count` vectors drawn evenly from all segments, always the same ones."""
    total = sum(len(one) for one in vectors)
    share = min(1.0, count / max(1, total))
    chance = np.random.default_rng(0)
    drawn = [np.sort(chance.choice(len(one), int(np.ceil(share * len(one))), replace=False)) for one in vectors]
    return np.concatenate([one.rows(rows) for one, rows in zip(vectors, drawn, strict=True)])


def tune(vectors: Sequence[Vectors], exact: Sequence[Vectors], asked: float) -> Tuning:
    """The least effort, of powers of two, that reaches a recall@10 of `asked`; the most where none does."""
    queries = sample(exact, _QUERIES)
    truth = nearest(exact, queries, K + 1)
    parameter, most = vectors[0].parameter, max(one.most_effort for one in vectors)
    efforts = [*(2**power for power in range(most.bit_length()) if 2**power < most), most] if parameter else [0]
    for effort in progress.track(efforts, "Measuring recall", total=len(efforts), unit="efforts"):
        recall = _recall(nearest(vectors, queries, K + 1, effort), truth)
        if recall >= asked:
            break
    return Tuning(parameter=parameter, value=effort, recall=round(recall, 4), asked=asked)


def nearest(vectors: Sequence[Vectors], queries: NDArray[np.float32], k: int, effort: int = 0) -> NDArray[np.int64]:
    """The rows of the `k` nearest over all segments, int64 (queries, k), best first; -1 where there are no more."""
    begins = np.cumsum([0, *(len(one) for one in vectors)])
    found = [one.nearest(queries, min(k, len(one)), effort=effort) for one in vectors]
    scores = np.hstack([scores for scores, _ in found])
    rows = np.hstack([np.where(rows < 0, -1, rows + at) for (_, rows), at in zip(found, begins[:-1], strict=True)])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, best, axis=1)


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the true neighbours that were found; the first is the query itself and doesn't count."""
    shares = [np.isin(want[1:], got).mean() for want, got in zip(truth, found, strict=True) if len(want) > 1]
    return float(np.mean(shares)) if shares else 1.0
