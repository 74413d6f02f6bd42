"""Batches of token sequences, bounded by tokens instead of by rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CPU_TOKENS = 512
"""Tokens of a batch on a CPU: more bring nothing there but padding."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Padded sequences: `ids`, `mask` (1 for a token, 0 for padding) and `segments`, each int64 (rows, tokens)."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    segments: NDArray[np.int64]


def token_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Group rows of like length, longest first, so that rows times the longest stay within `max_tokens`.

    A row longer than `max_tokens` is a batch of its own. Yields arrays of row numbers.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    at = 0
    while at < len(order):
        rows = max(1, max_tokens // max(1, int(sizes[order[at]])))
        yield order[at : at + rows]
        at += rows


def pad(ids: Sequence[Sequence[int]], segments: Sequence[Sequence[int]], pad_id: int) -> TokenBatch:
    """Pad on the right to the longest sequence."""
    shape = (len(ids), max(map(len, ids)))
    batch = TokenBatch(np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    for row, (tokens, segment) in enumerate(zip(ids, segments, strict=True)):
        batch.ids[row, : len(tokens)] = tokens
        batch.mask[row, : len(tokens)] = 1
        batch.segments[row, : len(tokens)] = segment
    return batch
