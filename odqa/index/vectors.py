"""Vectors of one segment, in FAISS. This is the only module that imports faiss."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError, IndexDamagedError
from odqa.text import counted

FLAT = "Flat"
DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu-cu11", "faiss-gpu")
_N = r"[1-9]\d*"
_IVF = rf"IVF{_N},(Flat|SQ8|SQfp16)|(OPQ{_N}(_{_N})?,)?IVF{_N},PQ{_N}(x{_N})?"
_FACTORY = re.compile(rf"Flat|SQ8|SQfp16|HNSW([2-9]|[1-9]\d+)(,Flat|,SQ8)?|{_IVF}")
_ALLOWED_SHARE = 0.1
_FEW = 1024
_CHUNK = 65_536


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


def check_merged(factory: str, *, gpu: bool) -> None:
    """Raise a ConfigError where vectors of that factory can't be searched all at once, or not on a GPU."""
    if "HNSW" in factory or factory.startswith(("SQ", "OPQ")):
        raise ConfigError(f'An index of factory "{factory}" can\'t be merged for a GPU; Flat and IVF can.')
    if gpu and not gpus():
        raise ConfigError('faiss finds no GPU. Install the GPU build: pip install "odqa[gpu]".')


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
    if not _FACTORY.fullmatch(factory):
        raise ConfigError(
            f'factory is "{factory}"; it must be like one of: Flat, SQ8, SQfp16, HNSW32, IVF4096,Flat, IVF4096,SQ8, '
            "IVF65536,PQ48, OPQ48,IVF65536,PQ48."
        )


class Codec:
    """How vectors become bytes: an empty FAISS index, trained where it needs that, which all segments share."""

    def __init__(self, factory: str, dimension: int) -> None:
        """Make an untrained codec.

        Raises:
            ConfigError: FAISS can't combine the two, as PQ48 and 100 dimensions.
        """
        faiss = _faiss()
        check_factory(factory)
        self.factory = factory
        try:
            self._index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1]
            raise ConfigError(f'factory "{factory}" can\'t hold {dimension} dimensions: {reason}') from None

    @property
    def trained(self) -> bool:
        """Whether it can encode."""
        return bool(self._index.is_trained)

    @property
    def sample_size(self) -> int:
        """Vectors that training makes use of."""
        ivf = _parts(self._index)[1]
        return max(_CHUNK, 64 * getattr(ivf, "nlist", 0))

    def train(self, sample: NDArray[np.float32]) -> None:
        """Learn from `sample`, float32 (vectors, dimensions).

        Raises:
            ConfigError: there are too few.
        """
        self._be_silent()
        try:
            self._index.train(sample)
        except RuntimeError:
            raise ConfigError(
                f'factory "{self.factory}" can\'t be trained with {counted(len(sample), "passage")}. '
                'Use "Flat", or one with fewer cells.'
            ) from None

    def _be_silent(self) -> None:
        """FAISS warns on the terminal about small samples unless told that they are meant."""
        inner = _parts(self._index)[1]
        for holder in (inner, getattr(inner, "pq", None)):
            if holder is not None and hasattr(holder, "cp"):
                holder.cp.min_points_per_centroid = 1
        for number in range(self._index.chain.size() if hasattr(self._index, "chain") else 0):
            transform = _faiss().downcast_VectorTransform(self._index.chain.at(number))
            transform.pq = inner.pq if hasattr(inner, "pq") else None

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes, uint8 (vectors, bytes), of float32 (vectors, dimensions)."""
        return np.asarray(_parts(self._index)[2].sa_encode(np.ascontiguousarray(vectors)))

    def write(self, codes: NDArray[np.uint8], sink: Callable[[bytes], int]) -> None:
        """Make a segment's FAISS index of `codes` and pass its file's bytes to `sink`."""
        _write(self.filled(codes), sink)

    def filled(self, codes: NDArray[np.uint8]) -> Any:
        """A FAISS index of `codes`."""
        index = _faiss().clone_index(self._index)
        outer, inner, coder = _parts(index)
        if coder is not outer and coder is not inner:
            index.add(coder.sa_decode(codes))
        else:
            inner.add_sa_codes(codes, None)
            outer.ntotal = inner.ntotal
        return index

    def save(self, sink: Callable[[bytes], int]) -> None:
        """Pass the codec's own file to `sink`."""
        _write(self._index, sink)

    def load(self, path: Path) -> None:
        """Take the training from a file that `save` made.

        Raises:
            IndexDamagedError: FAISS can't read it.
        """
        self._index = _read(path, 0)


def on_gpu(index: Any, *, half: bool) -> Any:
    """A copy of a FAISS index on the first GPU, its vectors in half precision where `half`."""
    faiss = _faiss()
    options = faiss.GpuClonerOptions()
    options.useFloat16 = half
    resources = faiss.StandardGpuResources()
    moved = faiss.index_cpu_to_gpu(resources, 0, index, options)
    moved.odqa_resources = resources
    return moved


def search(
    index: Any, queries: NDArray[np.float32], k: int, effort: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Search a FAISS index of any kind with unit queries; `effort` is its nprobe, where it has one."""
    parameters = _faiss().SearchParametersIVF(nprobe=effort) if effort and hasattr(index, "nprobe") else None
    scores, rows = index.search(unit(queries), k, params=parameters)
    return scores, rows


def _parts(index: Any) -> tuple[Any, Any, Any]:
    """An index, the one inside its transform, and the one that makes its codes; the first owns the others."""
    faiss = _faiss()
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    return index, inner, faiss.downcast_index(inner.storage) if hasattr(inner, "storage") else index


def _write(index: Any, sink: Callable[[bytes], int]) -> None:
    faiss = _faiss()
    faiss.write_index(index, faiss.PyCallbackIOWriter(sink))


def _read(path: Path, flags: int) -> Any:
    try:
        return _faiss().read_index(str(path), flags)
    except RuntimeError as error:
        raise IndexDamagedError(f"{path} is damaged: {str(error).splitlines()[-1]}") from None


class Vectors:
    """The vectors of one segment; row i belongs to passage i."""

    def __init__(self, path: Path) -> None:
        """Open a file that `Codec.write` made.

        Raises:
            IndexDamagedError: FAISS can't read it.
        """
        faiss = _faiss()
        self._index, self._inner, self._coder = _parts(_read(path, faiss.IO_FLAG_MMAP_IFC))
        self._lists = isinstance(self._inner, faiss.IndexIVF)
        if self._lists:
            self._inner.make_direct_map()

    def __len__(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def parameter(self) -> str:
        """What says how far a search looks: `nprobe`, `efSearch`, or nothing where all is looked at."""
        if self._lists:
            return "nprobe"
        return "efSearch" if hasattr(self._inner, "hnsw") else ""

    @property
    def most_effort(self) -> int:
        """The largest useful value of `parameter`."""
        return int(self._inner.nlist) if self._lists else min(len(self), 2048)

    def nearest(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None, effort: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `k` nearest of the allowed vectors for each query, best first.

        Every one is looked at where they are few: a small graph may not reach them all, and that takes no longer.

        Args:
            queries: float32 (queries, dimensions).
            k: At most the number of vectors.
            allowed: bool (vectors,); all where None.
            effort: The value of `parameter`; FAISS's own where 0.

        Returns:
            Scores, float32 (queries, k), and rows, int64 (queries, k); a row is -1 where there are no more.
        """
        queries = unit(queries)
        count = len(self) if allowed is None else int(allowed.sum())
        few = 0 if self._lists else _FEW
        if self.parameter and count < max(k, few, _ALLOWED_SHARE * len(self)):
            return self.among(queries, k, np.arange(count) if allowed is None else np.flatnonzero(allowed))
        if allowed is None:
            return self._search(queries, k, self._parameters(effort, None))
        wider = min(self.most_effort, effort * len(self) // max(1, count))
        selector = _faiss().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        scores, rows = self._search(queries, k, self._parameters(wider, selector))
        if self.parameter and (rows[:, : min(k, count)] < 0).any():
            return self.among(queries, k, np.flatnonzero(allowed))
        return scores, rows

    def _search(
        self, queries: NDArray[np.float32], k: int, parameters: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, rows = self._index.search(queries, k, params=parameters)
        return scores, rows

    def _parameters(self, effort: int, selector: Any) -> Any:
        faiss = _faiss()
        given = {} if selector is None else {"sel": selector}
        chosen = {self.parameter: effort} if self.parameter and effort else {}
        kinds = {"nprobe": faiss.SearchParametersIVF, "efSearch": faiss.SearchParametersHNSW}
        made = kinds.get(self.parameter, faiss.SearchParameters)(**given, **chosen)
        return made if self._inner is self._index else faiss.SearchParametersPreTransform(index_params=made)

    def among(
        self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The exact search of some rows; see `nearest`."""
        queries = unit(queries)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        for at in range(0, len(rows), _CHUNK):
            part = rows[at : at + _CHUNK]
            scores = np.hstack([scores, queries @ self.rows(part).T])
            found = np.hstack([found, np.broadcast_to(part, (len(queries), len(part)))])
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores, found = np.take_along_axis(scores, best, axis=1), np.take_along_axis(found, best, axis=1)
        return scores, found

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at `rows` as they are stored, float32 (rows, dimensions)."""
        if not len(rows):
            return np.empty((0, self._index.d), dtype=np.float32)
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(rows)))

    def codes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The codes at `rows`, uint8 (rows, bytes), as the codec made them."""
        if self._lists:
            return self._list_codes(rows)
        holder = self._inner if self._coder is self._index else self._coder
        stored = _faiss().rev_swig_ptr(holder.codes.data(), len(self) * holder.code_size)
        return np.asarray(stored.reshape(len(self), -1)[rows])

    def _list_codes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A code in an inverted file is the number of its list and what the list holds."""
        faiss, ivf = _faiss(), self._inner
        size, width = int(ivf.code_size), int(ivf.coarse_code_size())
        places = faiss.vector_to_array(ivf.direct_map.array)[rows]
        lists, offsets = places >> 32, places & 0xFFFFFFFF
        found = np.empty((len(rows), width + size), dtype=np.uint8)
        found[:, :width] = lists.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        for number in np.unique(lists):
            mine = lists == number
            held = faiss.rev_swig_ptr(ivf.invlists.get_codes(int(number)), ivf.invlists.list_size(int(number)) * size)
            found[mine, width:] = held.reshape(-1, size)[offsets[mine]]
        return found

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosine of `query`, float32 (dimensions,), and each of `rows`.

        Summed row by row in float64: FAISS's own sums differ in their last digits with the size of the batch.
        """
        stored = self.rows(rows).astype(np.float64)
        return np.asarray((stored * unit(query[None])[0].astype(np.float64)).sum(axis=1))
