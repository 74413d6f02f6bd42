"""All vectors of an index in one FAISS index with a row map, as a GPU wants them.

FAISS on a GPU is not thread-safe, can't delete, takes no row filter and finds at most 2,048 rows: so one thread owns
the index, removed passages are fetched too and left out, and what it can't do is left to the segments on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.index import vectors
from odqa.index.vectors import Codec, Vectors

MOST_ROWS = 2048


class MergedVectors:
    """One FAISS index over many segments; what it finds are rows of the whole index."""

    def __init__(self, codec: Codec, segments: Sequence[Vectors], *, gpu: bool, half: bool = False) -> None:
        """Join the vectors of all segments, by their codes.

        Args:
            codec: What made the codes.
            segments: The vectors in the order of their rows.
            gpu: Search on the first GPU, else on the CPU.
            half: Keep the vectors in half precision on the GPU.
        """
        codes = [one.codes(np.arange(len(one))) for one in segments]
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="odqa-vectors")
        self._index: Any = self._owner.submit(_moved, codec.filled(np.concatenate(codes)), gpu=gpu, half=half).result()

    def nearest(
        self, queries: NDArray[np.float32], k: int, *, live: NDArray[np.bool_] | None = None, effort: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """The `k` nearest live rows for each query, float32 (queries, dimensions), best first.

        Args:
            queries: Of any length.
            k: Rows for each query.
            live: bool (rows,), those not removed; all where None.
            effort: nprobe; FAISS's own where 0.

        Returns:
            Scores and rows, both (queries, k), a row being -1 where there are no more; None where more would have to
            be fetched than a GPU gives.
        """
        removed = 0 if live is None else int((~live).sum())
        depth = min(k + removed, int(self._index.ntotal))
        if depth > MOST_ROWS:
            return None
        scores, rows = self._owner.submit(vectors.search, self._index, queries, depth, effort).result()
        return (scores, rows) if live is None else _only(live, scores, rows, k)


def _moved(index: Any, *, gpu: bool, half: bool) -> Any:
    return vectors.on_gpu(index, half=half) if gpu else index


def _only(
    live: NDArray[np.bool_], scores: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The first `k` live rows of each line."""
    kept = (rows >= 0) & live[rows]
    first = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    found = np.where(kept, rows, -1)
    return np.take_along_axis(scores, first, axis=1), np.take_along_axis(found, first, axis=1)
