"""What is stored comes back exactly; names, locks and damage."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odqa.embedder import Embedder
from odqa.errors import (
    ConfigError,
    CorpusError,
    DataError,
    IndexDamagedError,
    IndexLockedError,
    IndexMismatchError,
    IndexNotFoundError,
    OdqaError,
    StoredIndexError,
)
from odqa.index import Index, files, generation, store
from odqa.index import build as building
from odqa.recipes import Card, PassageCard, TermsCard
from odqa.types import Document, Section
from tests.index import fakes

UNICODE = [
    Document(
        "emoji", "👩‍👩‍👧‍👦 reads 📚\r\nand 🇫🇷 waves", "Família 👪", {"kind": "emoji", "n": 1, "x": 0.5, "ok": True}
    ),
    Document("marks", "Cafe\u0301 na\u0308ive\nZ͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘", "Ü", {"note": None}),
    Document("rtl", "שלום עולם\r\nمرحبا بالعالم\u200f (abc)", "עברית"),
    Document("zero", "a\u200bb\u200cc\u200dd\ufeffe\n\u2028x\u2029y\x00z\x1f", ""),
    Document("wide", "\U00020000\U0002a6d6 𝔘𝔫𝔦\n\n\n  end  ", "𝔗", {}, (Section(0, 1, "Êins"), Section(4, 2, None))),
]
PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_documents_come_back_exactly() -> None:
    fakes.build("made", UNICODE, segment_passages=2)
    index = Index.open("made")
    assert list(index.documents()) == UNICODE
    by_id = {document.id: document for document in UNICODE}
    for passage in index.passages():
        document = by_id[passage.document_id]
        assert document.text[passage.start : passage.end] == passage.text
        assert (passage.title, passage.metadata) == (document.title, document.metadata)


@settings(PROPERTY, max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=6))
def test_any_text_comes_back_exactly(texts: list[str]) -> None:
    documents = [Document(f"d{number}", text, title=text[:3]) for number, text in enumerate(texts)]
    kept = [document for document in documents if any(line.strip() for line in document.text.split("\n"))]
    if not kept:
        return
    fakes.build("made", kept)
    index = Index.open("made")
    assert list(index.documents()) == kept
    assert [fakes.key(passage) for passage in index.passages()] == [fakes.key(one) for one in fakes.passages_of(kept)]


def test_a_passage_carries_the_sections_it_lies_in() -> None:
    sections = (Section(0, 1, "First"), Section(6, 2, "Second"), Section(14, 3, "Third"))
    fakes.build("made", [Document("d", "alpha\nbeta gamma delta\nend", sections=sections)])
    first, second, third = Index.open("made").passages()
    assert first.sections == sections[:1]
    assert second.sections == sections[1:]
    assert third.sections == sections[2:]


def damaged(folder: Path, path: Path, offset: int) -> list[str]:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << (offset % 8)
    path.chmod(0o644)
    path.write_bytes(data)
    return store.faults(folder)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with all there can be: two segments, tombstones, a trained codec, two generations."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ODQA_HOME", str(tmp_path_factory.mktemp("home")))
    fakes.build(
        "sound", fakes.make_documents(30), fakes.CARD.model_copy(update={"factory": "IVF2,Flat", "sentences": True})
    )
    fakes.add("sound", [*fakes.make_documents(3, seed=1), Document("new", "w1")])
    folder = store.existing("sound")
    patch.undo()
    assert len({path.parent.name for path in fakes.files_of(folder)}) == 5
    return folder


@settings(PROPERTY, max_examples=100)
@given(data=st.data())
def test_any_flipped_byte_is_found(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(fakes.files_of(sound)))
    offset = data.draw(st.integers(0, path.stat().st_size - 1))
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy, dirs_exist_ok=True)
    problems = damaged(copy, copy / path.relative_to(sound), offset)
    assert problems
    assert any(path.name in problem for problem in problems)
    shutil.copy(path, copy / path.relative_to(sound))
    assert store.faults(copy) == []


@pytest.mark.parametrize("name", ["CURRENT", generation.file_name(2)])
def test_every_byte_of_the_small_files_is_checked(sound: Path, tmp_path: Path, name: str) -> None:
    good = {kept: (sound / kept).read_bytes() for kept in ("CURRENT", generation.file_name(2))}
    for kept, data in good.items():
        (tmp_path / kept).write_bytes(data)
    for offset in range(len(good[name])):
        data = bytearray(good[name])
        data[offset] ^= 0x10
        (tmp_path / name).write_bytes(data)
        with pytest.raises(IndexDamagedError, match=name):
            generation.current(tmp_path)


def test_what_is_gone_is_named_with_what_it_held(sound: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy)
    segment = generation.current(copy).segments[0]
    shutil.rmtree(copy / "segments" / segment.name)
    with pytest.raises(IndexDamagedError, match=r"documents.arrow can't be read: No such file .* Rebuild"):
        Index(copy)
    assert len(store.faults(copy)) == 6
    assert f"It holds {segment.live_documents} of 31 documents." in store.faults(copy)[0]


def test_a_newer_and_a_foreign_generation_are_told_apart_from_damage(sound: Path, tmp_path: Path) -> None:
    body = generation.unseal((sound / generation.file_name(2)).read_bytes())
    assert body is not None
    with pytest.raises(IndexDamagedError, match="has format 99, newer than this odqa reads .* Upgrade odqa"):
        generation.decode(generation.seal({**body, "format": 99}), tmp_path)
    with pytest.raises(IndexDamagedError, match="was written by odqa 7.7, which this one can't read"):
        generation.decode(generation.seal({**body, "odqa": "7.7", "surprise": 1}), tmp_path)


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(IndexNotFoundError, match=r'No index "missing".* Known: none yet'):
        Index.open("missing")
    fakes.build("one", UNICODE)
    fakes.build("two", UNICODE)
    with pytest.raises(IndexNotFoundError, match=r'No index "missing".* Known: one, two\. Build it: odqa index build'):
        Index.open("missing")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "a\\b", "x" * 65, "a\n", "card.toml", "-x"])
def test_bad_names_are_refused(name: str) -> None:
    for use in (lambda: Index.open(name), lambda: Index.build(name, UNICODE), lambda: store.rename("one", name)):
        fakes.build("one", UNICODE)
        with pytest.raises(ConfigError, match="can't name an index"):
            use()


def test_an_index_that_another_process_writes_is_locked() -> None:
    fakes.build("made", UNICODE)
    program = """
        import sys, filelock
        with filelock.FileLock(sys.argv[1]):
            print("locked", flush=True)
            sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(store.existing("made") / store.LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        for use in (Index.compact, store.delete, lambda name: store.rename(name, "other"), Index.remove):
            with pytest.raises(IndexLockedError, match='"made" is being written by another process'):
                use("made")
        assert len(Index.open("made")) > 0
        child.kill()
    assert Index.compact("made").documents == len(UNICODE)


def test_replacing_keeps_the_old_index_in_use_until_the_end() -> None:
    fakes.build("made", [Document("old", "w1")])

    def documents():
        yield Document("new", "w2")
        assert [document.id for document in Index.open("made").documents()] == ["old"]
        yield Document("newer", "w3")

    opened = Index.open("made")
    fakes.build("made", documents(), segment_passages=1)
    assert [document.id for document in opened.documents()] == ["old"]
    assert [document.id for document in Index.open("made").documents()] == ["new", "newer"]
    assert opened.refreshed().generation.number == 2
    assert Index.open("made").refreshed().generation.number == 2


def test_a_taken_name_is_not_built_over(embedder) -> None:
    fakes.build("made", UNICODE)
    with pytest.raises(ConfigError, match='"made" exists already. Replace it with --replace'):
        Index.build("made", UNICODE, embedder=embedder)


def test_nothing_to_index_is_an_error_and_makes_no_index() -> None:
    with pytest.raises(CorpusError, match=r"holds no text \(1 empty document\)"):
        fakes.build("made", [Document("a", "  ")])
    with pytest.raises(IndexNotFoundError, match="never finished. Run its build again"):
        Index.open("made")
    with pytest.raises(CorpusError, match='id "a" stands twice'):
        fakes.build("made", [Document("a", "x"), Document("a", "y")])
    for document in (Document("a\ud83d", "x"), Document("a", "x\ud83d"), Document("a", "x", "\ud83d")):
        with pytest.raises(CorpusError, match="half of a surrogate pair: decode its text anew"):
            fakes.build("made", [document])


def broken(*documents: Document) -> Iterator[Document]:
    yield from documents
    raise DataError("line 3: not JSON")


@pytest.mark.parametrize("documents", [[], [Document("a", " ")], broken(), broken(UNICODE[0])])
def test_a_build_without_a_finished_segment_leaves_nothing(embedder: Embedder, documents: Iterable[Document]) -> None:
    with pytest.raises(OdqaError, match="holds no text|line 3"):
        Index.build("made", documents, embedder=embedder)
    assert list(store.listed()) == []
    assert list(store.folder_of("made").parent.iterdir()) == []


def test_a_build_that_fails_later_goes_on(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SEGMENT_PASSAGES", 1)
    with pytest.raises(DataError, match="line 3"):
        Index.build("made", broken(*UNICODE[:2]), embedder=embedder)
    assert [one.name for one in store.listed()] == ["made"]
    assert Index.build("made", UNICODE, embedder=embedder).resumed == 1


def test_a_failed_build_takes_nothing_away_that_is_not_its_own(embedder: Embedder) -> None:
    fakes.build("made", UNICODE)
    foreign = store.folder_of("foreign") / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    for name in ("made", "foreign"):
        with pytest.raises(DataError):
            Index.build(name, broken(), embedder=embedder, replace=True)
    assert foreign.read_text() == "mine"
    assert list(Index.open("made").documents()) == UNICODE


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (Card(factory="Flat,Round"), 'factory is "Flat,Round"; it must be like one of: Flat'),
        (Card(factory="IVF2,PQ5"), "can't hold 16 dimensions"),
        (Card(terms=TermsCard(stemmer="klingon")), 'terms.stemmer is "klingon"; known: .*english'),
        (Card(terms=TermsCard(stop_words="klingon")), 'terms.stop_words is "klingon"'),
    ],
)
def test_cards_that_can_not_be_are_refused(card: Card, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fakes.build("made", UNICODE, card)


def test_passages_must_fit_the_embedder(embedder) -> None:
    for card, message in [
        (PassageCard(max_tokens=10_000), "max_tokens is 10000, but the embedder reads only 62 tokens"),
        (PassageCard(max_tokens=8, overlap=8), r"overlap \(8\) must be under passages.max_tokens \(8\)"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Index.build("made", UNICODE, card=Card(passages=card), embedder=embedder)


def test_another_embedder_is_refused() -> None:
    fakes.build("made", UNICODE)
    other = replace(fakes.HashEmbedder(), name="other", fingerprint="other-1", dimension=8)
    with pytest.raises(IndexMismatchError, match=r'"made" was built with "hash" \(16 dimensions\).*"other" \(8\)'):
        Index.open("made").check_embedder(other)  # type: ignore[arg-type]
    with pytest.raises(IndexMismatchError, match="Rebuild it: odqa index build made --replace"):
        fakes.add("made", UNICODE, embedder=other)


def test_a_folder_that_can_not_be_written(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir()
    (home / "indexes").write_text("in the way")
    with pytest.raises(StoredIndexError, match="Can't write .*indexes.* Choose a folder that you may write to"):
        files.make_folder(home / "indexes" / "made")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(home: Path) -> None:
    fakes.build("made", UNICODE)
    folder = store.existing("made")
    folder.chmod(0o500)
    try:
        with pytest.raises(StoredIndexError, match="Permission denied. The index was left as it was"):
            fakes.add("made", [Document("x", "w1")])
        assert len(list(Index.open("made").documents())) == len(UNICODE)
    finally:
        folder.chmod(0o700)


def test_rename_and_delete() -> None:
    fakes.build("one", UNICODE)
    fakes.build("two", UNICODE)
    with pytest.raises(ConfigError, match='An index "two" exists already'):
        store.rename("one", "two")
    store.rename("one", "three")
    assert store.names() == ["three", "two"]
    assert list(Index.open("three").documents()) == UNICODE
    store.delete("two")
    assert store.names() == ["three"]
    assert [path.name for path in store.existing("three").parent.iterdir()] == ["three"]


def test_the_list_names_what_can_not_be_opened() -> None:
    fakes.build("good", UNICODE)
    fakes.build("hurt", UNICODE)
    (store.existing("hurt") / "CURRENT").write_text("1 abc\n")
    (store.existing("good").parent / "half").mkdir()
    found = {one.name: one for one in store.listed()}
    assert found["good"].generation is not None
    assert "checksums differ" in found["hurt"].problem
    assert "never finished" in found["half"].problem


def test_what_can_be_no_index_is_left_out_of_the_list() -> None:
    fakes.build("good", UNICODE)
    for name in ("lost+found", ".hidden", "wiki (copy)"):
        (store.existing("good").parent / name).mkdir()
    assert [one.name for one in store.listed()] == store.names() == ["good"]


def test_deleting_clears_away_what_a_killed_deletion_left() -> None:
    fakes.build("one", UNICODE)
    root = store.existing("one").parent
    for name in (".deleted-one-0123abcd", ".deleted-one-2-0123abcd"):
        (root / name).mkdir()
        (root / name / "left").write_text("")
    store.delete("one")
    assert [path.name for path in root.iterdir()] == [".deleted-one-2-0123abcd"]


def test_deleting_a_linked_index_leaves_what_it_points_to(tmp_path: Path) -> None:
    fakes.build("one", UNICODE)
    folder = store.existing("one")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    store.delete("one")
    assert store.names() == []
    assert store.faults(tmp_path / "elsewhere") == []


def test_an_index_that_can_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.build("one", UNICODE)

    def refused(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(StoredIndexError, match="Can't read .*CURRENT: Permission denied"):
        Index.open("one")
    assert "Permission denied" in next(store.listed()).problem


def test_a_model_whose_files_changed_is_said_to_have_changed() -> None:
    fakes.build("made", UNICODE)
    other = replace(fakes.HashEmbedder(), fingerprint="hash-2")
    with pytest.raises(IndexMismatchError, match="but that model's files have changed since"):
        fakes.add("made", UNICODE, embedder=other)
