"""Spans against an independent triple loop over softmax probabilities, and what makes a reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odqa.reader.decode import best_token_spans, character_spans, reading
from odqa.types import Span


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def triple_loop(start, end, first, stop, longest):
    found = {}
    for row in range(len(start)):
        p_start, p_end = log_softmax(start[row]), log_softmax(end[row])
        for i in range(first[row], stop[row]):
            for j in range(i, min(i + longest, stop[row])):
                found[row, i, j] = p_start[i] + p_end[j] - (p_start[0] + p_end[0])
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(5, 24), st.integers(1, 9))
def test_margins_equal_the_difference_of_log_probabilities(seed: int, rows: int, tokens: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    start = random.normal(scale=5, size=(rows, tokens)).astype(np.float32)
    end = random.normal(scale=5, size=(rows, tokens)).astype(np.float32)
    first = random.integers(1, tokens - 1, rows)
    stop = np.array([random.integers(low + 1, tokens + 1) for low in first])
    spans = best_token_spans(start, end, first, stop, max_answer_length=longest, n_best=10_000)
    expected = triple_loop(start, end, first, stop, longest)
    assert {(span.row, span.start_token, span.end_token) for span in spans} == set(expected)
    for span in spans:
        assert span.margin == pytest.approx(expected[span.row, span.start_token, span.end_token], abs=1e-5)


def test_the_best_spans_come_first_and_no_more_than_asked() -> None:
    start = np.array([[1.0, 0, 5, 4, 0]], np.float32)
    end = np.array([[1.0, 0, 0, 3, 2]], np.float32)
    spans = best_token_spans(start, end, np.array([1]), np.array([5]), max_answer_length=2, n_best=3)
    assert [(span.start_token, span.end_token, span.margin) for span in spans] == [
        (2, 3, 6.0),
        (3, 3, 5.0),
        (3, 4, 4.0),
    ]


def test_a_window_without_passage_tokens_has_no_span() -> None:
    zeros = np.zeros((1, 4), np.float32)
    assert best_token_spans(zeros, zeros, np.array([2]), np.array([2]), max_answer_length=3, n_best=5) == []


def test_tokens_become_characters() -> None:
    start = np.array([[0, 0, 0, 9]], np.float32)
    spans = best_token_spans(start, start, np.array([2]), np.array([4]), max_answer_length=2, n_best=1)
    offsets = [np.array([[0, 3], [4, 10]])]
    assert character_spans(spans, offsets, np.array([2])) == [(4, 10, 18.0)]


def test_overlapping_spans_yield_to_the_better_one() -> None:
    found = reading("in the north of France", [(0, 12, 1.0), (7, 12, 3.0), (16, 22, 2.0), (7, 22, 2.5)], 5)
    assert found.spans == (Span(7, 12, 3.0), Span(16, 22, 2.0))
    assert found.margin == 3.0


def test_a_passage_without_spans_is_under_every_threshold() -> None:
    assert reading("", [], 5).margin == float("-inf")
