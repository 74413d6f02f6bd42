"""Vectors of one segment, in FAISS. This is the only module that imports faiss."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError, IndexDamagedError

FACTORIES = ("Flat",)
DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu-cu11", "faiss-gpu")


def installed() -> dict[str, str]:
    """The faiss distributions that are installed, with their versions. There should be exactly one."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def gpus() -> int:
    """GPUs that the installed faiss can use; 0 for a CPU build."""
    count = getattr(_faiss(), "get_num_gpus", None)
    return int(count()) if count is not None else 0


def _faiss() -> Any:
    if find_spec("faiss") is None:
        raise ConfigError('faiss is not installed. Install it: pip install "odqa[cpu]", or "odqa[gpu]" with a GPU.')
    import faiss

    return faiss


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1, so that an inner product is a cosine; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1.0, lengths)).astype(np.float32)


def check_factory(factory: str) -> None:
    """Raise a ConfigError where the FAISS factory string isn't one that an index can have."""
    if factory not in FACTORIES:
        raise ConfigError(f'factory is "{factory}"; it must be one of: {", ".join(FACTORIES)}.')


def write(vectors: NDArray[np.float32], factory: str, sink: Callable[[bytes], int]) -> None:
    """Encode `vectors`, float32 (passages, dimensions) of any length, and pass the file's bytes to `sink`."""
    faiss = _faiss()
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.add(unit(vectors))
    faiss.write_index(index, faiss.PyCallbackIOWriter(sink))


class Vectors:
    """The vectors of one segment; row i belongs to passage i."""

    def __init__(self, path: Path) -> None:
        """Open a file that `write` made.

        Raises:
            IndexDamagedError: FAISS can't read it.
        """
        faiss = _faiss()
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexDamagedError(f"{path} is damaged: {str(error).splitlines()[-1]}") from None

    def __len__(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    def nearest(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """For each query, float32 (queries, dimensions), the rows of its `k` nearest vectors."""
        _, rows = self._index.search(unit(queries), min(k, len(self)))
        return [found[found >= 0] for found in rows]

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of `query`, float32 (dimensions,), and each of `rows`.

        Summed row by row in float64: FAISS's own sums differ in their last digits with the size of the batch.
        """
        if not len(rows):
            return np.empty(0)
        stored = self._index.reconstruct_batch(np.ascontiguousarray(rows)).astype(np.float64)
        return np.asarray((stored * unit(query[None])[0].astype(np.float64)).sum(axis=1))
