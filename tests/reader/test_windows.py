"""Windows cover every token, overlap as asked, and refuse questions that leave no room."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.processors import Sequence

from odqa.errors import ModelError, QuestionError
from odqa.reader.windows import Windower, load_tokenizer
from tests.tiny import word_piece_tokenizer

LENGTH, STRIDE = 32, 8


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return word_piece_tokenizer()


@pytest.fixture(scope="module")
def windower() -> Windower:
    return Windower(word_piece_tokenizer(), max_length=LENGTH, doc_stride=STRIDE)


@settings(deadline=None, max_examples=60)
@given(passage=st.text(alphabet=st.sampled_from("abc normans France 10 é\u0301🇫🇷\r\n שלום\u200b"), max_size=400))
def test_every_token_of_the_passage_is_in_a_window(tokenizer: Tokenizer, windower: Windower, passage: str) -> None:
    whole = tokenizer.encode(passage, add_special_tokens=False)
    windows = windower.windows([("who led the normans?", passage)])
    assert {tuple(offset) for window in windows for offset in window.offsets} == set(whole.offsets)
    assert all(len(window.ids) <= LENGTH for window in windows)
    joined = [window.ids[window.first : window.stop] for window in windows]
    for before, after in pairwise(joined):
        assert before[-STRIDE:] == after[:STRIDE]
    assert sum(map(len, joined)) - STRIDE * max(0, len(joined) - 1) == len(whole.ids)


def test_segments_mark_question_and_passage(windower: Windower) -> None:
    (window,) = windower.windows([("who?", "rollo led")])
    assert window.segments[: window.first] == [0] * window.first
    assert window.segments[window.first : window.stop] == [1] * len(window.offsets)
    assert np.array_equal(window.offsets[0], [0, 5])


def test_windows_know_their_pair_and_an_empty_passage_has_none(windower: Windower) -> None:
    windows = windower.windows([("who?", "rollo"), ("who?", "  "), ("who?", "the normans")])
    assert [window.pair for window in windows] == [0, 2]


def test_an_empty_question_is_refused(windower: Windower) -> None:
    with pytest.raises(QuestionError, match="The question is empty"):
        windower.windows([(" \n", "rollo")])


def test_a_question_too_long_names_the_limit(windower: Windower) -> None:
    limit = LENGTH - STRIDE - 1 - 3
    windower.windows([("the " * limit, "rollo led the normans " * 10)])
    with pytest.raises(QuestionError, match=f"has {limit + 1} tokens, but at most {limit} fit"):
        windower.windows([("the " * (limit + 1), "rollo")])


def model_folder(folder: Path, tokenizer: Tokenizer | None, **settings: object) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **settings}))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("settings", [{"vocab_size": 1}, {"vocab_size": 1.5}, {}])
def test_a_tokenizer_with_its_vocabulary_is_loaded(
    tokenizer: Tokenizer, tmp_path: Path, settings: dict[str, float]
) -> None:
    share = {key: int(value * tokenizer.get_vocab_size()) for key, value in settings.items()}
    loaded = load_tokenizer(model_folder(tmp_path, tokenizer, **share))
    assert loaded.get_vocab() == tokenizer.get_vocab()


def test_a_tokenizer_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, None, vocab_size=30_522)
    with pytest.raises(ModelError, match=rf"in {folder} has 5 tokens, but .* 30522: .* Put tokenizer.json .* beside"):
        load_tokenizer(folder)


def test_another_models_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, tokenizer, vocab_size=40)
    with pytest.raises(ModelError, match=rf"in {folder} has \d+ tokens, .* only 40\. Use the model's own tokenizer"):
        load_tokenizer(folder)


def test_a_tokenizer_without_special_tokens_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.post_processor = Sequence([])
    folder = model_folder(tmp_path, bare, vocab_size=bare.get_vocab_size())
    with pytest.raises(ModelError, match=rf'in {folder} puts no special token .* "no answer" .* model\'s own'):
        load_tokenizer(folder)
