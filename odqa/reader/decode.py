"""From logits to spans: vectorised over a band of `max_answer_length`, in NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from odqa.text import snap
from odqa.types import Reading, Span


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A span by tokens of one window (both ends included), with its margin over the window's null score."""

    row: int
    start_token: int
    end_token: int
    margin: float


def best_token_spans(
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    first: NDArray[np.int64],
    stop: NDArray[np.int64],
    *,
    max_answer_length: int,
    n_best: int,
) -> list[TokenSpan]:
    """The `n_best` spans of each window, by falling margin.

    `margin = (start[i] + end[j]) - (start[0] + end[0])`, with i <= j < i + max_answer_length and both among the
    passage's tokens `first .. stop - 1`. It equals the difference of log probabilities that published readers use,
    since a window's two softmax normalisers cancel in it.

    Args:
        start: Start logits, (windows, tokens).
        end: End logits, (windows, tokens).
        first: First passage token of each window, (windows,).
        stop: Token after the last of the passage, (windows,).
        max_answer_length: Longest span in tokens.
        n_best: Spans kept for each window.
    """
    tokens = np.arange(start.shape[1])
    outside = (tokens < first[:, None]) | (tokens >= stop[:, None])
    starts = np.where(outside, -np.inf, start)
    ends = np.pad(np.where(outside, -np.inf, end), ((0, 0), (0, max_answer_length - 1)), constant_values=-np.inf)
    band = starts[:, :, None] + sliding_window_view(ends, max_answer_length, axis=1)
    margins = band.reshape(len(band), -1) - (start[:, :1].astype(np.float64) + end[:, :1])
    places = _largest(margins, n_best)
    return [
        TokenSpan(row, int(place) // max_answer_length, sum(divmod(int(place), max_answer_length)), float(margin))
        for row, chosen in enumerate(places)
        for place, margin in zip(chosen, margins[row, chosen], strict=True)
        if np.isfinite(margin)
    ]


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest values of each row, largest first, the left one first among equals."""
    count = min(count, values.shape[1])
    places = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def reading(passage: str, spans: Iterable[tuple[int, int, float]], n_best: int) -> Reading:
    """The best spans of one passage that don't overlap, from the (start, end, margin) of all its windows."""
    kept: list[Span] = []
    for first, last, margin in sorted(spans, key=lambda span: (-span[2], span[0], span[1])):
        start, end = snap(passage, first, last)
        if start < end and all(end <= other.start or other.end <= start for other in kept):
            kept.append(Span(start, end, margin))
        if len(kept) == n_best:
            break
    return Reading(tuple(kept))


def character_spans(
    spans: Sequence[TokenSpan], offsets: Sequence[NDArray[np.int64]], first: NDArray[np.int64]
) -> list[tuple[int, int, float]]:
    """(start, end, margin) of token spans in characters of their passages."""
    return [
        (
            int(offsets[span.row][span.start_token - first[span.row], 0]),
            int(offsets[span.row][span.end_token - first[span.row], 1]),
            span.margin,
        )
        for span in spans
    ]
