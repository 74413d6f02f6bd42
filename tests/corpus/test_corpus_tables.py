import csv
import gzip
import json
import os
import threading
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from odqa.corpus import read_documents
from odqa.errors import ConfigError, CorpusError
from odqa.types import Document


def jsonl_file(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_jsonl_rows_with_typed_metadata(tmp_path):
    row = {"id": 7, "text": "A\r\nb", "title": "T", "year": 1066, "share": 0.5, "ok": True, "none": None, "list": [1]}
    path = jsonl_file(tmp_path / "a.jsonl", row, {"text": "c"})
    assert list(read_documents(path)) == [
        Document("7", "A\r\nb", "T", {"year": 1066, "share": 0.5, "ok": True, "none": None}),
        Document("a.jsonl#1", "c"),
    ]


@pytest.mark.parametrize("name", ["context", "contents", "passage", "body"])
def test_columns_looked_for_in_place_of_text(tmp_path, name):
    path = jsonl_file(tmp_path / "a.ndjson", {name: "x", "other": "y"})
    assert list(read_documents(path)) == [Document("a.ndjson#0", "x", "", {"other": "y"})]


def test_text_goes_before_its_substitutes(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", {"body": "b", "context": "c", "text": "t"})
    assert next(read_documents(path)).text == "t"


def test_named_columns(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", {"key": "k", "abstract": "x", "name": "n", "text": "y", "title": "z"})
    columns = {"id": "key", "text": "abstract", "title": "name"}
    assert list(read_documents(path, columns=columns)) == [Document("k", "x", "n", {"text": "y", "title": "z"})]


def test_null_and_blank_texts_are_passed_on(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", {"text": None}, {"text": ""}, {"text": " \n"})
    assert [document.text for document in read_documents(path)] == ["", "", " \n"]


def test_empty_lines_byte_order_mark_and_gzip(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "\xe2\x80\xa8b"}'))
    assert [(document.id, document.text) for document in read_documents(path)] == [
        ("a.jsonl.gz#0", "a"),
        ("a.jsonl.gz#1", "\u2028b"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ', "a.jsonl, line 2: not JSON: "),
        ("[" * 100_000, "a.jsonl, line 2: not JSON: "),
        ("[1]", "a.jsonl, line 2: expected a JSON object, found list"),
        ('{"txt": "a", "b": 1}', 'line 2: no column "text" or "context" or .* for the text; columns here: txt, b'),
        ("{}", "columns here: none"),
        ('{"text": ["a"]}', 'line 2: column "text" holds a list, expected text'),
        ('{"id": {}, "text": "a"}', 'line 2: column "id" holds a dict, expected text'),
        ('{"text": "a \\ud83d b"}', r"line 2: half a surrogate pair \(\\ud83d\)"),
        ('{"text": "a", "m": "\\udc00"}', "line 2: half a surrogate pair"),
    ],
)
def test_bad_jsonl(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' + line, encoding="utf-8")
    documents = read_documents(path)
    assert next(documents).text == "fine"
    with pytest.raises(CorpusError, match=message):
        next(documents)


def test_missing_named_column(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", {"text": "a", "x": 1})
    with pytest.raises(CorpusError, match='line 1: no column "headline" for the title; columns here: text, x'):
        list(read_documents(path, columns={"title": "headline"}))


def test_unknown_role(tmp_path):
    with pytest.raises(ConfigError, match='unknown role "body"; the roles are id, text, title'):
        read_documents(jsonl_file(tmp_path / "a.jsonl", {"text": "a"}), columns={"body": "text"})


def test_not_utf8(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(CorpusError, match="is not UTF-8: byte 0xE9 at offset 30"):
        list(read_documents(path))


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"x" * 1000)[:-9], b"\x1f\x8b" + b"\x00" * 30],
    ids=["plain", "truncated", "zeros"],
)
def test_bad_gzip(tmp_path, content):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"Can't read .*a\.jsonl\.gz"):
        list(read_documents(path))


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["title", "text", "year"], ["T", 'a, "b"\r\nc', "1066"], ["", "x" * 200_000, ""]])
    assert list(read_documents(path)) == [
        Document("a.csv#0", 'a, "b"\r\nc', "T", {"year": "1066"}),
        Document("a.csv#1", "x" * 200_000, "", {"year": ""}),
    ]


def test_tsv(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('id\ttext\n1\ta, b\n\n2\t"c\td"\n', encoding="utf-8")
    assert list(read_documents(path)) == [Document("1", "a, b"), Document("2", "c\td")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.csv is empty: expected a header row"),
        ("text,text\na,b\n", 'column "text" stands in the header more than once'),
        ("id,text\n1,a\n2,b,c\n", "a.csv, line 3: 3 fields where the header has 2"),
        ("id,text\n1\n", "a.csv, line 2: 1 fields where the header has 2"),
        ('id,text\n1,"a\n', "a.csv, line 2: not CSV: unexpected end of data"),
        ('id,text\n1,"a"b\n', "a.csv, line 2: not CSV"),
        ("id,name\n1,a\n", 'line 2: no column "text" or .*; columns here: id, name'),
    ],
)
def test_bad_csv(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        list(read_documents(path))


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "id": pa.array(["a", None]),
            "text": pa.array(["x\r\n", None], pa.large_string()),
            "day": [date(2020, 1, 2), None],
            "at": [datetime(2020, 1, 2, 3), None],
            "price": [Decimal("1.5"), None],
            "score": [0.25, float("nan")],
            "list": [[1], [2]],
            "bytes": [b"a", b"b"],
        }
    )
    parquet.write_table(table, path)
    first = {"day": "2020-01-02", "at": "2020-01-02T03:00:00", "price": 1.5, "score": 0.25}
    assert list(read_documents(path)) == [
        Document("a", "x\r\n", "", first),
        Document("a.parquet#1", "", "", dict.fromkeys(first)),
    ]


def test_parquet_needs_the_column(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["a"], "name": ["b"]}), path)
    with pytest.raises(
        CorpusError, match=r'a\.parquet, row 0: no column "abstract" for the text; columns here: text, name'
    ):
        list(read_documents(path, columns={"text": "abstract"}))


def test_bad_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(CorpusError, match=r"a\.parquet is not a readable Parquet file"):
        list(read_documents(path))


def test_the_first_document_comes_before_the_last_line_is_written(tmp_path):
    path = tmp_path / "endless.jsonl"
    os.mkfifo(path)
    wait = threading.Event()

    def write():
        with path.open("wb", buffering=0) as file:
            file.write(b'{"text": "first"}\n{"text": "second"}\n')
            wait.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    documents = read_documents(path)
    assert next(documents).text == "first"
    assert writer.is_alive()
    wait.set()
    assert [document.text for document in documents] == ["second"]
    writer.join()


def test_parquet_batches_are_streamed(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [str(number) for number in range(5000)]}), path)
    batches = []
    iter_batches = parquet.ParquetFile.iter_batches

    def counted(self, *args, **kwargs):
        for batch in iter_batches(self, *args, **kwargs):
            batches.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    documents = read_documents(path)
    assert next(documents).text == "0"
    assert len(batches) == 1
    assert sum(1 for _ in documents) == 4999
