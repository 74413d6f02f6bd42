import gzip
import json

import pytest

from odqa.corpus import read_documents
from odqa.corpus.squad import numbered, shown_title
from odqa.errors import CorpusError


def article(title, *contexts):
    paragraphs = [{"context": context, "qas": []} for context in contexts]
    return {"title": title, "paragraphs": paragraphs} if title else {"paragraphs": paragraphs}


def squad_file(path, *articles):
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return path


def test_a_document_for_each_paragraph(tmp_path):
    path = squad_file(tmp_path / "dev.json", article("Normans", "One.\r\n", "Two  e\u0301."), article("Oil", "Three."))
    documents = list(read_documents(path))
    assert [document.id for document in documents] == ["Normans-0", "Normans-1", "Oil-0"]
    assert [document.text for document in documents] == ["One.\r\n", "Two  e\u0301.", "Three."]
    assert [document.title for document in documents] == ["Normans", "Normans", "Oil"]


def test_ids_keep_the_raw_title_and_count_on_where_it_comes_again(tmp_path):
    path = squad_file(tmp_path / "a.json", article("Beyonc%C3%A9_Knowles", "a"), article("X", "b"), article("X", "c"))
    documents = list(read_documents(path))
    assert [document.id for document in documents] == ["Beyonc%C3%A9_Knowles-0", "X-0", "X-1"]
    assert documents[0].title == "Beyoncé Knowles"


@pytest.mark.parametrize(
    ("raw", "shown"), [("Super_Bowl_50", "Super Bowl 50"), ("a%5Fb_c", "a_b c"), ("100%_sure", "100% sure")]
)
def test_shown_title(raw, shown):
    assert shown_title(raw) == shown


def test_gzip_byte_order_mark_and_a_missing_title(tmp_path):
    path = tmp_path / "covid.json.gz"
    text = json.dumps({"data": [article("", "😀 a", "b")]}, ensure_ascii=False)
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    documents = list(read_documents(path))
    assert [(document.id, document.text) for document in documents] == [("covid-0", "😀 a"), ("covid-1", "b")]


def test_null_context_is_an_empty_document(tmp_path):
    assert next(read_documents(squad_file(tmp_path / "a.json", article("A", None)))).text == ""


def test_numbered_gives_questions_the_ids_of_their_documents():
    paragraphs = list(numbered([article("A", "x", "y")], where="dev"))
    assert [(paragraph.document_id, paragraph.content["qas"]) for paragraph in paragraphs] == [("A-0", []), ("A-1", [])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("nope", "is not JSON"),
        ('{"data": [{"title": "a", "paragraphs": [', "is not JSON"),
        ("[1, 2]", r"holds no SQuAD article: expected \{\"data\""),
        ('{"data": []}', "holds no SQuAD article"),
        ('{"data": [1]}', "article 0 is not SQuAD: expected"),
        ('{"data": [{"title": "a"}]}', "article 0 is not SQuAD"),
        ('{"data": [{"title": "a", "paragraphs": [{"text": "x"}]}]}', "article 0 is not SQuAD"),
        ('{"data": [{"title": "a", "paragraphs": ["x"]}]}', "article 0 is not SQuAD"),
        ('{"data": [{"title": "a", "paragraphs": [{"context": 7}]}]}', "article 0 is not SQuAD"),
    ],
)
def test_other_shapes_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError, match=message) as caught:
        list(read_documents(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_not_utf8_names_the_byte(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"data": [\n{"title": "caf\xe9"}]}')
    with pytest.raises(CorpusError, match=r"a\.json is not UTF-8: byte 0xE9 at offset 25.*iconv"):
        list(read_documents(path))


def test_articles_are_streamed(tmp_path):
    path = squad_file(tmp_path / "a.json", *(article(f"T{number}", "x" * 1000) for number in range(1000)))
    path.write_text(path.read_text()[:-100], encoding="utf-8")
    documents = read_documents(path)
    assert next(documents).id == "T0-0"
    with pytest.raises(CorpusError, match="is not JSON"):
        list(documents)
