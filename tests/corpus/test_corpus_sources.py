import subprocess
import sys

import pytest

from odqa.corpus import Format, read_documents
from odqa.errors import ConfigError, CorpusError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    for name in ("b.txt", "a.MD", "sub/c.txt", ".hidden.txt", ".git/d.txt", "program.exe", "README"):
        (root / name).write_text(f"text of {name}", encoding="utf-8")
    (root / "faq.jsonl").write_text('{"text": "one"}\n{"id": "x", "text": "two"}\n', encoding="utf-8")
    return root


def test_a_folder_is_read_in_sorted_order(folder):
    documents = list(read_documents(folder))
    assert [document.id for document in documents] == ["a.MD", "b.txt", "faq.jsonl#0", "x", "sub/c.txt"]
    assert documents[-1].metadata == {"path": "sub/c.txt"}
    assert documents[-1].title == "c"


def test_columns_reach_the_tables_of_a_folder(folder):
    (folder / "faq.jsonl").write_text('{"answer": "one"}\n', encoding="utf-8")
    documents = list(read_documents(str(folder), format="folder", columns={"text": "answer"}))
    assert documents[2].text == "one"


def test_links_out_of_a_folder_are_left_out(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "more.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "links").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "broken.txt").symlink_to(tmp_path / "nothing")
    (folder / "within.txt").symlink_to(folder / "b.txt")
    texts = {document.id: document.text for document in read_documents(folder)}
    assert texts["within.txt"] == "text of b.txt"
    assert set(texts) == {"a.MD", "b.txt", "faq.jsonl#0", "x", "sub/c.txt", "within.txt"}


def test_a_linked_folder_can_be_the_source(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert len(list(read_documents(tmp_path / "link"))) == 5


def test_a_folder_is_streamed(folder):
    (folder / "z.jsonl").write_text("broken", encoding="utf-8")
    documents = read_documents(folder)
    assert next(documents).id == "a.MD"
    with pytest.raises(CorpusError, match=r"z\.jsonl, line 1"):
        list(documents)


@pytest.mark.parametrize("names", [(), ("a.exe", ".b.txt")])
def test_a_folder_with_nothing_to_read(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"holds no file that can be read; known suffixes: \.json, "):
        list(read_documents(tmp_path))


@pytest.mark.parametrize("source", ["nowhere", "nowhere.json", "rajpurkar/squad", ""])
def test_no_such_path(source):
    with pytest.raises(CorpusError, match=rf'No file or folder "{source}"\. .*format="datasets"'):
        read_documents(source)


def test_format_says_what_the_suffix_does_not(tmp_path):
    path = tmp_path / "notes.log"
    path.write_text("x", encoding="utf-8")
    assert next(read_documents(path, format="text")).id == "notes.log"
    assert next(read_documents(path, format=Format.MARKDOWN)).text == "x"
    with pytest.raises(CorpusError, match=r"notes\.log: its suffix doesn't tell its format.*squad, jsonl"):
        read_documents(path)


def test_unknown_format(tmp_path):
    with pytest.raises(ConfigError, match='Unknown format "word"; the formats are squad, jsonl'):
        read_documents(tmp_path, format="word")


def test_folders_and_files_are_told_apart(folder):
    with pytest.raises(CorpusError, match="is a folder; it can't be read as text"):
        read_documents(folder, format="text")
    with pytest.raises(CorpusError, match="is a file; it can't be read as folder"):
        read_documents(folder / "b.txt", format="folder")


def test_columns_are_for_rows(folder):
    with pytest.raises(ConfigError, match=r"b\.txt is read as text"):
        read_documents(folder / "b.txt", columns={"text": "x"})


def test_dots_in_a_name_are_no_suffix(tmp_path):
    path = tmp_path / "v1.2.txt"
    path.write_text("x", encoding="utf-8")
    assert next(read_documents(path)).title == "v1.2"


def test_unreadable_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x", encoding="utf-8")
    documents = read_documents(path)
    path.unlink()
    with pytest.raises(CorpusError, match=r"Can't read .*a\.txt"):
        next(documents)


def test_import_is_light():
    heavy = "datasets pyarrow torch docx pypdfium2 selectolax markdown_it ijson tokenizers semantic_text_splitter"
    code = f"import sys, odqa.corpus; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
