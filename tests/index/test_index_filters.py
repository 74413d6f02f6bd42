"""Filters: the language against worked examples, the search against brute force."""

from __future__ import annotations

import json
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odqa.errors import ConfigError
from odqa.index import Index, where
from odqa.types import Document
from tests.index import fakes

COLUMNS = {
    "title": ["Normans", "normans", "Köln", 'say "hi"', "Normans"],
    "year": [1066, 1990, None, 2000.5, 1990],
    "open": [True, False, None, True, False],
    "page count": [1, 2, 3, 4, 5],
    "mixed": [1, "1", True, None, 1.0],
}
EXAMPLES = {
    'title = "Normans"': "10001",
    "title == 'Normans'": "10001",
    'title != "Normans"': "01110",
    'title = "say \\"hi\\""': "00010",
    'title < "a"': "10101",
    "year >= 1990": "01011",
    "year > 1990": "00010",
    "year < 1e9": "11011",
    "year = 1990.0": "01001",
    "year = null": "00100",
    "year != null": "11011",
    "year != 1990": "10010",
    "not year = 1990": "10110",
    "open = true": "10010",
    "open != TRUE": "01001",
    "year in (1066, 2000.5)": "10010",
    "year not in (1066, null)": "01011",
    "year in (null)": "00100",
    'title = "Normans" and year >= 1990': "00001",
    'title = "Normans" or title = "Köln" and year = null': "10101",
    '(title = "Normans" or title = "Köln") and not (year = null)': "10001",
    "`page count` <= 2": "11000",
    "mixed = 1": "10001",
    'mixed = "1"': "01000",
    "mixed = true": "00100",
    "year = -5 or year = +1066": "10000",
    "not not open = true": "10010",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_worked_examples(text: str) -> None:
    found = where.parse(text)(COLUMNS.__getitem__)
    assert "".join(str(int(meets)) for meets in found) == EXAMPLES[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wrong at character 1: expected the name of a column"),
        ("title", "character 6: expected =, !="),
        ("title =", 'character 8: expected a value: "text"'),
        ("title = Normans", "character 9: expected a value"),
        ('title = "a" title', 'character 13: expected "and", "or" or the end'),
        ('(title = "a"', 'character 13: expected "\\)"'),
        ("year in 3", 'character 9: expected "\\("'),
        ("year not 3", 'expected "in"'),
        ("year < null", "compares with a text or a number"),
        ("open < true", "compares with a text or a number"),
        ("year = 19x", "character 8: can't read this"),
        ('title = "open', "character 9: can't read this"),
        ("__import__('os')", "expected =, !="),
        ("year = 1; drop", "can't read this"),
        ("not " * 60 + "year = 1", "nested more than 50 deep"),
        ("(" * 5000, "nested more than 50 deep"),
        (f"year = {'9' * 5000}", "character 8: a number with too many digits"),
    ],
)
def test_what_can_not_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        where.parse(text)(COLUMNS.__getitem__)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('year > "1990"', "\"year\" holds numbers, but is compared with '1990'"),
        ("title = 5", '"title" holds text, but is compared with 5'),
        ('open = "yes"', "holds true or false, but is compared with 'yes'"),
    ],
)
def test_another_type_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        where.parse(text)(COLUMNS.__getitem__)


def test_unknown_columns_name_the_known_ones() -> None:
    fakes.build("made", fakes.make_documents(4))
    with pytest.raises(ConfigError, match='column "yeer". There are: id, title, note, open, score, year'):
        Index.open("made").rows("yeer = 3")
    assert not Index.open("made").rows("note = 3").any()


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.sampled_from("abé"))
SIGNS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@settings(deadline=None, max_examples=150)
@given(st.lists(VALUES, min_size=1, max_size=12), VALUES, st.sampled_from([*SIGNS, "!="]))
def test_comparisons_are_those_of_python(values: list, wanted: object, sign: str) -> None:
    same = [kind(value) == kind(wanted) for value in values]
    pairs = list(zip(values, same, strict=True))
    try:
        found = where.parse(f"x {sign} {json.dumps(wanted, ensure_ascii=False)}")(lambda _: values)
    except ConfigError:
        assert wanted is None or isinstance(wanted, bool) or not any(same)
        return
    if sign == "!=":
        expected = [value is not None and not (alike and value == wanted) for value, alike in pairs]
    else:
        expected = [alike and SIGNS[sign](value, wanted) for value, alike in pairs]
    assert found.tolist() == expected


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "IVF4,Flat", "HNSW8"])
@pytest.mark.parametrize("text", ["year >= 2000", 'title in ("Title 1", "Title 2") and open = false', 'id = "d17"'])
def test_filtered_search_is_brute_force_over_what_is_allowed(factory: str, text: str) -> None:
    documents = fakes.make_documents(60)
    fakes.build(
        "made", documents, fakes.CARD.model_copy(update={"factory": factory, "recall": 1.0}), segment_passages=50
    )
    index = Index.open("made")
    passages = list(index.passages())
    columns = {"id": [], "title": [], "year": [], "open": []}
    for passage in passages:
        for name, values in columns.items():
            values.append({"id": passage.document_id, "title": passage.title, **passage.metadata}[name])
    allowed = np.flatnonzero(where.parse(text)(columns.__getitem__))
    assert 0 < len(allowed) < len(passages)
    assert np.flatnonzero(index.rows(text)).tolist() == allowed.tolist()
    assert index.rows(text) is index.rows(text)
    for question in ("w1 w2", "w5 w6 w7"):
        query = fakes.vector(question)
        truth = index.dense_scores(query, allowed)
        near = index.nearest(query[None], 5, where=text)[0]
        assert set(near) <= set(allowed)
        np.testing.assert_allclose(np.sort(index.dense_scores(query, near))[::-1], np.sort(truth)[::-1][:5], atol=1e-6)
        hits = fakes.retriever(index, candidates=500).retrieve([question], top_k=500, where=text)[0]
        assert {fakes.key(hit.passage) for hit in hits} == {fakes.key(passages[row]) for row in allowed}
        alone = fakes.retriever(index, candidates=500).retrieve([question], top_k=500)[0]
        scores = {fakes.key(hit.passage): hit.score for hit in alone}
        assert all(scores[fakes.key(hit.passage)] == hit.score for hit in hits)
        sparse = fakes.retriever(index, mode="sparse").retrieve([question], top_k=500, where=text)[0]
        assert all(fakes.key(hit.passage) in {fakes.key(passages[row]) for row in allowed} for hit in sparse)


def test_a_filter_that_nothing_meets_finds_nothing() -> None:
    fakes.build("made", [Document("a", "w1", metadata={"n": 1})])
    for mode in ("dense", "sparse", "hybrid"):
        assert fakes.retriever(Index.open("made"), mode=mode).retrieve(["w1"], where="n > 1") == [[]]


@pytest.mark.parametrize("word", ["or", "and"])
def test_a_filter_may_be_long(word: str) -> None:
    text = f" {word} ".join(["year = 1990"] * 5000)
    assert list(where.parse(text)(COLUMNS.__getitem__)) == list(where.parse("year = 1990")(COLUMNS.__getitem__))
