"""Spans on whole visible characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odqa.text import counted, normalize_answer, sentences, snap


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("  France ", (0, 9), "France"),
        ("cafe\u0301 noir", (0, 4), "cafe\u0301"),
        ("a 👨\u200d👩\u200d👧 family", (2, 3), "👨\u200d👩\u200d👧"),
        ("a 👨\u200d👩\u200d👧 family", (4, 5), "👨\u200d👩\u200d👧"),
        ("wave 👋🏽 now", (5, 6), "👋🏽"),
        ("line\r\nbreak", (4, 11), "break"),
        ("שלום\u05b8 עולם", (0, 4), "שלום\u05b8"),
        ("one\u200btwo", (0, 3), "one"),
    ],
)
def test_a_span_is_widened_to_what_people_see(text: str, span: tuple[int, int], expected: str) -> None:
    start, end = snap(text, *span)
    assert text[start:end] == expected


@given(st.text(), st.data())
def test_a_snapped_span_stays_inside_and_snaps_to_itself(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    snapped = snap(text, start, end)
    assert 0 <= snapped[0] <= snapped[1] <= len(text)
    assert snap(text, *snapped) == snapped
    assert not text[start:end].strip() or text[start:end].strip() in text[slice(*snapped)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  Normans!", "normans"), ("an A.B. the", "ab"), ("Théâtre", "théâtre"), ("“quoted”", "“quoted”")],
)
def test_normalisation_is_the_official_one(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 passages"), (1, "1 passage"), (1_204, "1,204 passages")])
def test_what_is_counted_stands_in_its_number(count: int, expected: str) -> None:
    assert counted(count, "passage") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("One", ["One"]),
        ("One. Two? Three!  Four", ["One. ", "Two? ", "Three!  ", "Four"]),
        ('He said "No." Then (why?) he left.', ['He said "No." ', "Then (why?) he left."]),
        ("At 3.5 km e.g. here. 12 men", ["At 3.5 km e.g. here. ", "12 men"]),
        ("A list:\r\n\r\n- one\n- two", ["A list:\r\n\r\n", "- one\n", "- two"]),
        ("東京は首都です。人口は多い。", ["東京は首都です。", "人口は多い。"]),
        ("שלום. עולם", ["שלום. ", "עולם"]),
    ],
)
def test_sentences_by_hand(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(st.text(alphabet=st.sampled_from('aB1.!? \n"\u3002')))
def test_sentences_follow_one_another_over_the_whole_text(text: str) -> None:
    assert "".join(text[start:end] for start, end in sentences(text)) == text
    assert all(start < end for start, end in sentences(text))
