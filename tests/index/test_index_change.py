"""Documents added, replaced and removed, segments merged, builds resumed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from odqa.errors import ConfigError, CorpusError
from odqa.index import Index, change, files, generation, store
from odqa.index import build as building
from odqa.types import Document
from tests.index import disks, fakes
from tests.index.test_index_search import QUESTIONS, found

SMALL = [Document("a", "w1 w2\nw3"), Document("b", "w2 w4"), Document("c", "w5 w1")]


def held(name: str) -> dict[str, Document]:
    return {document.id: document for document in Index.open(name).documents()}


def test_added_documents_are_there_and_the_same_id_replaces() -> None:
    fakes.build("made", SMALL)
    report = fakes.add("made", [Document("b", "w9"), Document("d", "w1"), Document("e", " ")])
    assert (report.added, report.replaced, report.skipped, report.documents, report.passages) == (2, 1, 1, 4, 5)
    assert held("made") == {"a": SMALL[0], "c": SMALL[2], "b": Document("b", "w9"), "d": Document("d", "w1")}
    assert len(Index.open("made")) == 5
    hits = fakes.retriever(Index.open("made")).retrieve(["w4"], top_k=10)[0]
    assert sorted(hit.passage.text for hit in hits) == ["w1", "w1 w2", "w3", "w5 w1", "w9"]


def test_removed_documents_are_gone_from_all_sides() -> None:
    fakes.build("made", SMALL)
    report = change.remove(store.existing("made"), ids=["b", "c", "zz"])
    assert (report.removed, report.unknown, report.documents, report.passages) == (2, 1, 1, 2)
    index = Index.open("made")
    assert set(held("made")) == {"a"}
    assert [passage.text for passage in index.passages()] == ["w1 w2", "w3"]
    assert index.sparse("w4 w5").reach == 0
    assert len(index.nearest(np.ones((1, 16), np.float32), 10)[0]) == 2


def test_removing_nothing_makes_no_generation() -> None:
    fakes.build("made", SMALL)
    assert change.remove(store.existing("made"), ids=["zz"]).generation == 1


def test_everything_may_be_removed_and_added_again() -> None:
    fakes.build("made", SMALL)
    change.remove(store.existing("made"), condition='id != ""')
    index = Index.open("made")
    assert (len(index), list(index.documents()), index.generation.segments) == (0, [], ())
    for mode in ("dense", "sparse", "hybrid"):
        assert fakes.retriever(index, mode=mode).retrieve(["w1"], where='title = "x"') == [[]]
        assert fakes.retriever(index, mode=mode).retrieve(["w1"]) == [[]]
    fakes.add("made", SMALL)
    assert held("made") == {document.id: document for document in SMALL}


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat"])
def test_after_changes_search_is_that_of_an_index_built_whole(mode: str, factory: str) -> None:
    old, new = fakes.make_documents(40), fakes.make_documents(12, seed=5)
    card = fakes.CARD.model_copy(update={"factory": factory, "recall": 1.0})
    fakes.build("changed", old, card, segment_passages=17)
    fakes.add("changed", new)
    change.remove(store.existing("changed"), ids=[f"d{number}" for number in range(30, 36)])
    expected = [*new, *old[12:30], *old[36:]]
    fakes.build("whole", expected, card)
    opened = Index.open("changed")
    for _ in range(2):
        index = Index.open("changed")
        for question in QUESTIONS:
            for where in (None, "year < 1995 and not open = true"):
                left = found(index, question, mode=mode, where=where)
                right = found(Index.open("whole"), question, mode=mode, where=where)
                assert [one[0] for one in left] == [one[0] for one in right]
                np.testing.assert_allclose([one[1] for one in left], [one[1] for one in right], atol=1e-6)
        before = {fakes.key(passage): found(index, passage.text, mode=mode) for passage in index.passages()}
        assert change.compact(store.existing("changed")).segments == 1
    compacted = Index.open("changed")
    assert compacted.generation.segments[0].tombstones is None
    assert {fakes.key(one): found(compacted, one.text, mode=mode) for one in compacted.passages()} == before
    assert [fakes.key(one) for one in opened.passages()] == [fakes.key(one) for one in Index.open("changed").passages()]


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "IVF2,PQ4x4", "HNSW8"])
def test_no_text_is_embedded_twice(factory: str) -> None:
    fakes.build("made", fakes.make_documents(20), fakes.CARD.model_copy(update={"factory": factory}))
    embedder = fakes.HashEmbedder()
    same = [Document(f"copy of {one.id}", one.text) for one in fakes.make_documents(20)]
    fakes.add("made", [*same, Document("new", "w1 brand new\nw1 brand new")], embedder=embedder)
    assert embedder.seen == ["w1 brand new"]
    index = Index.open("made")
    rows = {fakes.key(passage): row for row, passage in enumerate(index.passages())}
    query = fakes.vector("any")
    for passage in fakes.passages_of(fakes.make_documents(20)):
        pair = np.array([rows[fakes.key(passage)], rows[f"copy of {passage.document_id}", passage.start, passage.text]])
        first, second = index.dense_scores(query, pair)
        assert first == second


def test_a_text_of_a_removed_document_needs_no_embedding() -> None:
    fakes.build("made", SMALL)
    change.remove(store.existing("made"), ids=["b"])
    embedder = fakes.HashEmbedder()
    fakes.add("made", [SMALL[1]], embedder=embedder)
    assert embedder.seen == []


def test_many_small_segments_are_merged_by_themselves() -> None:
    fakes.build("made", SMALL)
    for number in range(change.MOST_SMALL + 1):
        fakes.add("made", [Document(f"d{number}", f"w{number}")])
    assert len(Index.open("made").generation.segments) <= change.MOST_SMALL
    assert len(held("made")) == len(SMALL) + change.MOST_SMALL + 1


def test_a_disk_too_full_to_merge_still_takes_the_addition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "MOST_SMALL", 1)
    fakes.build("made", SMALL)
    whole = disks.FaultyDisk()
    with monkeypatch.context() as patch:
        patch.setattr(change, "MOST_SMALL", 2)
        patch.setattr(files, "disk", whole)
        fakes.add("made", [Document("d", "w1")])
    store.delete("made")
    fakes.build("made", SMALL)
    monkeypatch.setattr(files, "disk", disks.FaultyDisk(len(whole.log) + 5, disks.Fault.FULL))
    assert fakes.add("made", [Document("d", "w1")]).documents == 4
    assert len(Index.open("made").generation.segments) == 2
    assert set(held("made")) == {"a", "b", "c", "d"}


def test_compacting_a_compact_index_changes_nothing() -> None:
    fakes.build("made", SMALL)
    assert change.compact(store.existing("made")).generation == 1


def test_compacting_fills_segments_up_to_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = fakes.make_documents(40, lines=2)
    fakes.build("made", documents, segment_passages=3)
    monkeypatch.setattr(building, "SEGMENT_PASSAGES", 20)
    assert change.compact(store.existing("made")).segments == -(-len(Index.open("made")) // 20)
    assert held("made") == {document.id: document for document in documents}
    assert all(stamp.passages <= 20 for stamp in Index.open("made").generation.segments)


def test_a_failed_add_leaves_the_index_as_it_was() -> None:
    fakes.build("made", SMALL)
    for bad in ([Document("x", "w1"), Document("x", "w2")], [Document("x", "")]):
        with pytest.raises(CorpusError):
            fakes.add("made", bad)
    assert Index.open("made").generation.number == 1
    assert held("made") == {document.id: document for document in SMALL}


def killed_build(documents: list[Document], after: int, card=fakes.CARD) -> list[str]:
    """A build that is killed when it has noted `after` segments; what it embedded."""
    embedder, disk = fakes.HashEmbedder(), disks.FaultyDisk()
    step = disk._step
    with pytest.MonkeyPatch.context() as patch, pytest.raises(disks.Killed):

        def counted(what: str) -> bool:
            done = sum(line == f"rename .{generation.JOURNAL}.draft" for line in disk.log)
            disk.dead = disk.dead or done == after
            return step(what)

        patch.setattr(disk, "_step", counted)
        patch.setattr(files, "disk", disk)
        fakes.build("made", documents, card, embedder=embedder, segment_passages=10)
    return embedder.seen


@pytest.mark.parametrize("factory", ["Flat", "IVF2,Flat"])
def test_a_killed_build_goes_on_after_its_last_finished_segment(factory: str) -> None:
    documents = fakes.make_documents(30)
    card = fakes.CARD.model_copy(update={"factory": factory})
    before = killed_build(documents, 3, card)
    embedder = fakes.HashEmbedder()
    report = fakes.build("made", documents, card, embedder=embedder, segment_passages=10)
    assert report.resumed == 3
    assert not set(before) & set(embedder.seen)
    assert before + embedder.seen == list(dict.fromkeys(one.text for one in fakes.passages_of(documents)))
    assert list(Index.open("made").documents()) == documents
    assert store.faults(store.existing("made")) == []


def test_a_killed_build_notices_what_changed() -> None:
    documents = fakes.make_documents(30)
    killed_build(documents, 3)
    journal = generation.unseal((store.folder_of("made") / generation.JOURNAL).read_bytes())
    assert journal is not None
    first, second, _ = (entry["segment"]["documents"] for entry in journal["entries"])
    changed = list(documents)
    changed[first + second] = Document("other", "w1 other")
    assert fakes.build("made", changed, segment_passages=10).resumed == 2
    assert list(Index.open("made").documents()) == changed


def test_a_killed_build_with_another_card_or_a_damaged_journal_starts_over() -> None:
    documents = fakes.make_documents(30)
    killed_build(documents, 2)
    card = fakes.CARD.model_copy(update={"terms": fakes.CARD.terms.model_copy(update={"k1": 0.9})})
    assert fakes.build("made", documents, card).resumed == 0
    store.delete("made")
    killed_build(documents, 2)
    path = store.existing("made") / generation.JOURNAL
    path.write_bytes(path.read_bytes().replace(b"digest", b"digist"))
    assert fakes.build("made", documents).resumed == 0
    assert list(Index.open("made").documents()) == documents


def test_a_damaged_finished_segment_is_built_again() -> None:
    documents = fakes.make_documents(30)
    killed_build(documents, 2)
    path = sorted((store.existing("made") / "segments").glob("*/documents.arrow"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert fakes.build("made", documents).resumed < 2
    assert list(Index.open("made").documents()) == documents
    assert store.faults(store.existing("made")) == []


def test_a_filter_removes() -> None:
    documents = fakes.make_documents(20)
    fakes.build("made", documents)
    report = Index.remove("made", where="year >= 1990")
    kept = [document for document in documents if int(document.metadata["year"]) < 1990]  # type: ignore[arg-type]
    assert (report.removed, list(Index.open("made").documents())) == (20 - len(kept), kept)
    with pytest.raises(ConfigError, match="No document has a column"):
        Index.remove("made", where="nothing = 1")


def test_changes_with_the_real_embedder(build, embedder, documents) -> None:
    index = build()
    assert Index.add("tiny", [Document("new", documents[0].text)], embedder=embedder).documents == len(documents) + 1
    assert index.refreshed().generation.number == 2
    assert Index.remove("tiny", ids=["new", "d0"]).documents == len(documents) - 1
    assert Index.compact("tiny").segments == 1
    assert {one.id for one in Index.open("tiny").documents()} == {one.id for one in documents[1:]}


def test_a_generation_that_is_no_longer_used_is_freed_at_once() -> None:
    """Its files stay open as long as it lives; it must not wait for the collector of cycles."""
    fakes.build("made", SMALL)
    index = Index.open("made")
    fakes.retriever(index).retrieve(["w1"], where='title = ""')
    first = weakref.ref(index)
    gc.disable()
    try:
        change.remove(store.existing("made"), ids=["a"])
        index = index.refreshed()
        assert first() is None
    finally:
        gc.enable()


def test_an_index_that_was_built_anew_under_the_same_number_is_noticed() -> None:
    fakes.build("made", SMALL)
    index = Index.open("made")
    store.delete("made")
    fakes.build("made", [Document("new", "w1")])
    assert index.generation.number == Index.open("made").generation.number
    assert [document.id for document in index.refreshed().documents()] == ["new"]


def test_a_document_whose_text_is_gone_is_removed() -> None:
    fakes.build("made", SMALL)
    report = fakes.add("made", [Document("a", " \n"), Document("d", "w1"), Document("e", "")])
    assert (report.added, report.replaced, report.removed, report.skipped) == (1, 0, 1, 2)
    assert set(held("made")) == {"b", "c", "d"}


def test_compacting_removes_what_a_killed_addition_left() -> None:
    fakes.build("made", SMALL)
    folder = store.existing("made")
    before = fakes.files_of(folder)

    def broken() -> Iterator[Document]:
        yield from fakes.make_documents(30)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        fakes.add("made", broken(), segment_passages=10)
    assert len(fakes.files_of(folder)) > len(before)
    assert change.compact(folder).generation == 1
    assert fakes.files_of(folder) == before


def test_a_killed_build_goes_on_with_another_factory() -> None:
    documents = fakes.make_documents(30)
    before = killed_build(documents, 3, fakes.CARD.model_copy(update={"factory": "IVF2,Flat"}))
    embedder = fakes.HashEmbedder()
    card = fakes.CARD.model_copy(update={"factory": "HNSW8", "recall": 0.9})
    assert fakes.build("made", documents, card, embedder=embedder, segment_passages=10).resumed == 3
    assert not set(before) & set(embedder.seen)
    assert Index.open("made").generation.card.factory == "HNSW8"
