from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odqa.errors import DataError
from odqa.reader.windows import Window, Windower
from odqa.training.data import Example
from odqa.training.features import Collator, Features, Order, build, label
from tests.training.tiny_bases import word_piece

FIRST = 4


def window(*offsets: tuple[int, int]) -> Window:
    """A window whose passage begins at token 4, after [CLS], two tokens of question and [SEP]."""
    length = FIRST + len(offsets) + 1
    return Window(0, [9] * length, [0] * FIRST + [1] * (length - FIRST), np.array(offsets, np.int64), FIRST)


# "Anna lives in Oslo." by words, and the stop.
WORDS = ((0, 4), (5, 10), (11, 13), (14, 18), (18, 19))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((14, 18), (7, 7)),  # Oslo
        ((0, 4), (4, 4)),  # Anna
        ((11, 18), (6, 7)),  # in Oslo
        ((0, 19), (4, 8)),  # all of it
        ((15, 17), (7, 7)),  # "sl": the token that it stands in
        ((8, 12), (5, 6)),  # "es i": both tokens that it touches
        (None, (0, 0)),  # no answer
    ],
)
def test_labels_are_the_outermost_tokens_that_overlap_the_span(
    span: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert label(window(*WORDS), span) == expected


def test_an_answer_that_is_not_wholly_inside_is_none_there() -> None:
    left, right = window(*WORDS[:3]), window(*WORDS[2:])
    assert label(left, (11, 13)) == (6, 6)
    assert label(left, (11, 18)) == (0, 0)  # its end is in the next window
    assert label(right, (11, 18)) == (4, 5)
    assert label(right, (5, 13)) == (0, 0)  # its beginning is in the window before


def test_white_space_may_or_may_not_belong_to_the_token_after_it() -> None:
    with_space = window((0, 4), (4, 10), (10, 13), (13, 18), (18, 19))  # as SentencePiece counts
    assert label(with_space, (14, 18)) == (7, 7)
    assert label(with_space, (5, 13)) == (5, 6)


def test_a_character_of_several_tokens_is_labelled_whole() -> None:
    emoji = window((0, 1), (1, 2), (1, 2), (1, 2), (2, 3))  # bytes of one character share its place
    assert label(emoji, (1, 2)) == (5, 7)


def test_a_span_of_which_no_token_is_left_is_no_answer() -> None:
    assert label(window((0, 2), (5, 7)), (3, 4)) == (0, 0)


@given(st.integers(0, 70), st.integers(1, 10))
def test_the_labelled_tokens_cover_the_span_and_nothing_beyond_its_words(start: int, length: int) -> None:
    text = "Anna lives in Oslo. Dora once saw Dublin. Emil lives in Athens. Frida saw Prague."
    bare = text[start : start + length].strip()
    span = text.index(bare, start), text.index(bare, start) + len(bare)
    windower = Windower(word_piece(lowercase=True, every=2), max_length=32, doc_stride=14)
    windows = windower.windows([("Where?", text)])
    labels = [label(one, span) for one in windows]
    assert not bare or any(first for first, _ in labels)
    for one, (first, last) in zip(windows, labels, strict=True):
        if first:
            places = one.offsets[first - one.first : last + 1 - one.first]
            assert places[0, 0] <= span[0] < places[0, 1]
            assert places[-1, 0] < span[1] <= places[-1, 1]


def examples() -> list[Example]:
    return [
        Example("a", "Where does Anna live?", "Anna lives in Oslo.", (14, 18)),
        Example("b", "What does Anna eat?", "Anna lives in Oslo.", None, weight=0.5),
        Example("c", "Where?", "Anna lives in Oslo. " * 8, (14, 18)),
    ]


def features(max_length: int = 32) -> Features:
    return build(examples(), Windower(word_piece(lowercase=True, every=2), max_length=max_length, doc_stride=8))


def test_features_hold_the_windows_of_the_reader_end_to_end() -> None:
    windower = Windower(word_piece(lowercase=True, every=2), max_length=32, doc_stride=8)
    windows = windower.windows([(one.question, one.context) for one in examples()])
    found = features()
    assert len(found) == len(windows) > 3
    assert found.lengths.tolist() == [len(one.ids) for one in windows]
    assert found.ids.tolist() == [token for one in windows for token in one.ids]
    assert found.segments.tolist() == [segment for one in windows for segment in one.segments]
    assert found.weight.tolist() == [{0: 1.0, 1: 0.5, 2: 1.0}[one.pair] for one in windows]
    labels = list(zip(found.start.tolist(), found.end.tolist(), strict=True))
    assert labels == [label(one, examples()[one.pair].span) for one in windows]
    assert (found.ids.dtype, found.segments.dtype, found.start.dtype) == (np.int32, np.int8, np.int32)


def test_a_question_that_does_not_fit_is_named() -> None:
    windower = Windower(word_piece(lowercase=True, every=2), max_length=32, doc_stride=8)
    with pytest.raises(DataError, match=r'Question "long" can\'t be trained with\. The question has 40 tokens'):
        build([Example("long", "live " * 40, "Anna lives in Oslo.", None)], windower)
    with pytest.raises(DataError, match=r'Question "blank" can\'t be trained with\. The question is empty'):
        build([Example("blank", " ", "Anna lives in Oslo.", None)], windower)
    with pytest.raises(DataError, match="gives no window to train with"):
        build([Example("empty", "Where?", "", None)], windower)


def by_hand() -> Features:
    """Windows of 3, 2 and 5 tokens."""
    return Features(
        ids=np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], np.int32),
        segments=np.array([0, 0, 1, 0, 1, 0, 1, 1, 1, 1], np.int8),
        bounds=np.array([0, 3, 5, 10]),
        start=np.array([2, 0, 3], np.int32),
        end=np.array([2, 0, 4], np.int32),
        weight=np.array([1, 0.5, 1], np.float32),
    )


def test_batches_by_hand() -> None:
    batch = Collator(by_hand(), pad_id=99, pad_to_multiple=4, max_length=8, segments=True)([1, 0])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[4, 5, 99, 99], [1, 2, 3, 99]],
        "attention_mask": [[1, 1, 0, 0], [1, 1, 1, 0]],
        "token_type_ids": [[0, 1, 0, 0], [0, 0, 1, 0]],
        "start": [0, 2],
        "end": [0, 2],
        "weight": [0.5, 1.0],
    }


def test_padding_stays_within_the_window_and_segments_are_for_those_who_have_them() -> None:
    collator = Collator(by_hand(), pad_id=0, pad_to_multiple=4, max_length=6, segments=False)
    assert collator([2])["input_ids"].shape == (1, 6)
    assert "token_type_ids" not in collator([2])
    assert Collator(by_hand(), 0, 1, 6, segments=False)([1, 0])["input_ids"].shape == (2, 3)


@given(st.lists(st.integers(1, 384), min_size=1, max_size=200), st.integers(1, 16), st.booleans())
def test_an_order_takes_every_window_once_and_depends_on_seed_and_epoch_alone(
    lengths: list[int], batch_size: int, grouped: bool
) -> None:
    order = Order(np.array(lengths), batch_size, 3, grouped=grouped, epoch=2)
    rows = list(order)
    assert sorted(rows) == list(range(len(lengths))) and len(order) == len(lengths)
    assert rows == list(Order(np.array(lengths), batch_size, 3, grouped=grouped, epoch=2))


def test_batches_are_of_like_length_the_longest_first_and_shuffled() -> None:
    lengths = np.random.default_rng(0).integers(20, 384, 1_000)
    order = Order(lengths, 10, seed=1)
    batches = lengths[np.array(list(order))].reshape(-1, 10)
    assert np.ptp(batches, axis=1).mean() < 10 < np.ptp(lengths.reshape(-1, 10), axis=1).mean()
    assert batches[0].max() == lengths.max()
    assert (np.diff(batches[1:].mean(axis=1)) > 0).mean() == pytest.approx(0.5, abs=0.1)
    first = list(order)
    order.epoch = 1
    assert list(order) != first
