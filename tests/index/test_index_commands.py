"""The commands of `odqa index`, from documents in a file to Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from odqa.cli.index import index
from odqa.errors import ConfigError, IndexDamagedError
from odqa.index import Index, change, store
from odqa.types import Document, Section
from tests.index import fakes
from tests.tiny import TEXTS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(index, [str(argument) for argument in arguments], catch_exceptions=False)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def built(tmp_path: Path, embedder_folder: Path) -> Path:
    rows = [{"id": f"d{number}", "text": text, "year": 1990 + number} for number, text in enumerate(TEXTS)]
    result = run("build", "tiny", write(tmp_path / "docs.jsonl", rows), "--embedder", embedder_folder)
    assert result.output.startswith("Built tiny: 8 documents, 8 passages, ")
    return tmp_path


def test_documents_are_added_replaced_removed_and_compacted(built: Path) -> None:
    rows = [{"id": "d1", "text": "Oxygen is a gas."}, {"id": "new", "text": "Steam is hot."}, {"id": "x", "text": ""}]
    result = run("add", "tiny", write(built / "more.jsonl", rows))
    assert result.output.startswith(
        "Added 2 documents (1 without text skipped), 1 of them in place of an older one. "
        "tiny holds 9 documents, 9 passages in 2 segments, "
    )
    result = run("remove", "tiny", "--ids", "new", "--id", "nobody", "--where", "year >= 1996")
    assert result.output.startswith("Removed 3 documents (1 id not in the index). tiny holds 6 documents")
    assert run("compact", "tiny").output.startswith("tiny holds 6 documents, 6 passages in 1 segment, ")
    assert run("verify", "tiny").output == "tiny is sound.\n"
    assert {document.id for document in Index.open("tiny").documents()} == {"d0", "d1", "d2", "d3", "d4", "d5"}


def test_one_of_a_thing_is_not_many(tmp_path: Path, embedder_folder: Path) -> None:
    source = write(tmp_path / "docs.jsonl", [{"id": "a", "text": "Rollo led the Normans."}])
    assert run("build", "one", source, "--embedder", embedder_folder).output.startswith(
        "Built one: 1 document, 1 passage, "
    )
    assert run("add", "one", source).output.startswith(
        "Added 1 document, 1 of them in place of an older one. one holds 1 document, 1 passage in 1 segment, "
    )
    assert run("export", "one", tmp_path / "out").output.endswith(" (1 passage).\n")
    assert run("remove", "one", "--id", "a").output.startswith("Removed 1 document. one holds 0 documents, 0 passages")


def test_remove_asks_what(built: Path) -> None:
    result = run("remove", "tiny")
    assert (result.exit_code, "Say which documents to remove" in result.output) == (2, True)


def test_info_shows_what_was_tuned() -> None:
    fakes.build("made", fakes.make_documents(60), fakes.CARD.model_copy(update={"factory": "IVF4,Flat"}))
    shown = json.loads(run("info", "made", "--json").output)
    assert shown["tuning"]["parameter"] == "nprobe"
    assert shown["tuning"]["recall"] >= 0.95
    assert "tuning.recall" in run("info", "made").output


def test_verify_says_what_is_lost() -> None:
    fakes.build("made", fakes.make_documents(10))
    path = next(store.existing("made").glob("segments/*/vectors.faiss"))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(IndexDamagedError, match=r"vectors.faiss is damaged or missing. It holds 10 of 10 documents"):
        run("verify", "made")


def test_export_holds_all_that_is_live(tmp_path: Path) -> None:
    documents = fakes.make_documents(20)
    documents.append(Document("π", "λόγος\r\n👩‍👩‍👧", "Τ", {"a": None}, (Section(0, 3, "h"), Section(7, None, None))))
    fakes.build("made", documents, segment_passages=9)
    change.remove(store.existing("made"), ids=["d3", "d4"])
    result = run("export", "made", tmp_path / "out")
    assert result.output.startswith(f"Wrote {tmp_path / 'out' / 'documents.parquet'} and ")
    rows = parquet.read_table(tmp_path / "out" / "documents.parquet").to_pylist()
    found = [
        Document(
            row["id"],
            row["text"],
            row["title"],
            json.loads(row["metadata"]),
            tuple(Section(**section) for section in row["sections"]),
        )
        for row in rows
    ]
    assert found == [document for document in documents if document.id not in ("d3", "d4")]
    passages = parquet.read_table(tmp_path / "out" / "passages.parquet").to_pylist()
    expected = fakes.passages_of(found)
    assert [(row["document_id"], row["start"], row["text"]) for row in passages] == [fakes.key(one) for one in expected]
    vectors = np.array([fakes.vector(passage.text) for passage in expected])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose([row["vector"] for row in passages], vectors / lengths, atol=1e-6)


def test_export_overwrites_nothing(tmp_path: Path) -> None:
    fakes.build("made", fakes.make_documents(2))
    (tmp_path / "kept").write_text("")
    with pytest.raises(ConfigError, match="is not empty. Choose a new folder"):
        run("export", "made", tmp_path)
