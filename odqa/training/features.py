"""From examples to labelled windows in compact arrays, and from these to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import progress
from odqa.errors import DataError, QuestionError
from odqa.evaluation.dataset import Question
from odqa.reader.windows import Window, Windower
from odqa.training.data import Example

_CHUNK = 1_000
_POOL = 50


@dataclass(frozen=True, slots=True)
class Features:
    """Labelled windows, their tokens end to end; window `i` has the tokens `bounds[i]:bounds[i + 1]`.

    Attributes:
        ids: int32 (tokens,), token ids.
        segments: int8 (tokens,), 0 for the question and 1 for the passage, where the tokenizer says so.
        bounds: int64 (windows + 1,).
        start: int32 (windows,), the label's first token in its window; 0 stands for "no answer".
        end: int32 (windows,), the label's last token.
        weight: float32 (windows,), of the window's loss.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int8]
    bounds: NDArray[np.int64]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.start)

    def __getitem__(self, row: int) -> int:
        """The number itself: the collator takes a whole batch out of the arrays at once."""
        return row

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window, (windows,)."""
        return np.diff(self.bounds)


def label(window: Window, span: tuple[int, int] | None) -> tuple[int, int]:
    """First and last token of a span of characters, or (0, 0) where the window doesn't hold all of it.

    They are the outermost tokens that overlap the span, whether or not the tokenizer counts white space to them.
    """
    if span is None or span[0] < window.offsets[0, 0] or span[1] > window.offsets[-1, 1]:
        return 0, 0
    first = int(np.searchsorted(window.offsets[:, 1], span[0], side="right"))
    last = int(np.searchsorted(window.offsets[:, 0], span[1], side="left")) - 1
    return (window.first + first, window.first + last) if first <= last else (0, 0)


def build(examples: Sequence[Example], windower: Windower) -> Features:
    """Cut and label all examples.

    Raises:
        DataError: a question is empty or too long, or no passage has a token.
    """
    parts = list(_parts(examples, windower))
    merged = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Features)}
    lengths = np.concatenate([part.lengths for part in parts])
    if not len(lengths):
        raise DataError("The data gives no window to train with: all of its passages are empty.")
    return Features(**merged | {"bounds": _bounds(lengths)})


def check_questions(windower: Windower, asked: Iterable[Example | Question]) -> None:
    """Raise a DataError where a question is empty or too long for the windows."""
    for one in asked:
        try:
            windower.check_question(one.question)
        except QuestionError as error:
            raise DataError(f'Question "{one.id}" can\'t be trained with. {error}') from None


def _parts(examples: Sequence[Example], windower: Windower) -> Iterator[Features]:
    with progress.bar("Windows", total=len(examples), unit="questions") as tick:
        for begin in range(0, len(examples), _CHUNK):
            chunk = examples[begin : begin + _CHUNK]
            yield _part(chunk, _windows(chunk, windower))
            tick.advance(len(chunk))


def _windows(examples: Sequence[Example], windower: Windower) -> list[Window]:
    check_questions(windower, examples)
    return windower.windows([(example.question, example.context) for example in examples])


def _part(examples: Sequence[Example], windows: Sequence[Window]) -> Features:
    labels = np.array([label(window, examples[window.pair].span) for window in windows], np.int32).reshape(-1, 2)
    return Features(
        ids=np.array([token for window in windows for token in window.ids], np.int32),
        segments=np.array([segment for window in windows for segment in window.segments], np.int8),
        bounds=_bounds([len(window.ids) for window in windows]),
        start=labels[:, 0],
        end=labels[:, 1],
        weight=np.array([examples[window.pair].weight for window in windows], np.float32),
    )


def _bounds(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])


@dataclass(frozen=True, slots=True)
class Collator:
    """Turns rows of features into the tensors of one batch, padded to a multiple of `pad_to_multiple` tokens."""

    features: Features
    pad_id: int
    pad_to_multiple: int
    max_length: int
    segments: bool

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """`input_ids`, `attention_mask`, `token_type_ids` where the model has them; `start`, `end`, `weight`."""
        import torch

        features, windows = self.features, np.asarray(rows)
        inside = np.arange(self._width(windows)) < features.lengths[windows][:, None]
        tokens = np.concatenate([np.arange(*features.bounds[row : row + 2]) for row in rows])
        batch = {"input_ids": self._filled(inside, features.ids[tokens], self.pad_id), "attention_mask": inside}
        if self.segments:
            batch["token_type_ids"] = self._filled(inside, features.segments[tokens], 0)
        batch |= {"start": features.start[windows], "end": features.end[windows]}
        tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in batch.items()}
        return tensors | {"weight": torch.from_numpy(features.weight[windows])}

    def _width(self, rows: NDArray[np.int64]) -> int:
        longest = int(self.features.lengths[rows].max())
        return max(longest, min(-(-longest // self.pad_to_multiple) * self.pad_to_multiple, self.max_length))

    @staticmethod
    def _filled(inside: NDArray[np.bool_], tokens: NDArray[Any], pad: int) -> NDArray[np.int64]:
        filled = np.full(inside.shape, pad, np.int64)
        filled[inside] = tokens
        return filled


@dataclass(slots=True)
class Order:
    """The order of the windows in one epoch: a function of the seed and `epoch` alone, so that a resumed run goes on.

    Each slice of `batch_size` windows, counted over all devices, holds windows of like length where `grouped`.
    """

    lengths: NDArray[np.int64]
    batch_size: int
    seed: int
    grouped: bool = True
    epoch: int = 0

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Row numbers of the windows."""
        rng = np.random.default_rng([self.seed, 0, self.epoch])
        order = rng.permutation(len(self.lengths))
        return iter((self._grouped(order, rng) if self.grouped else order).tolist())

    def _grouped(self, order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Sort pools of batches by length, then shuffle the whole batches, the longest first to show memory at once."""
        pool = self.batch_size * _POOL
        pools = [order[begin : begin + pool] for begin in range(0, len(order), pool)]
        ordered = np.concatenate([rows[np.argsort(-self.lengths[rows], kind="stable")] for rows in pools])
        whole = len(ordered) // self.batch_size * self.batch_size
        batches = rng.permutation(ordered[:whole].reshape(-1, self.batch_size))
        if len(batches):
            longest = int(np.argmax(self.lengths[batches[:, 0]]))
            batches[[0, longest]] = batches[[longest, 0]]
        return np.concatenate([batches.ravel(), ordered[whole:]])
