"""Every write, sync, rename and removal of every change fails once: the index is as before or as after."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from odqa.errors import IndexNotFoundError, StoredIndexError
from odqa.index import Index, change, files, generation, store
from odqa.types import Document
from tests.index import disks, fakes

State = list[Document] | None
FIRST = [Document("a", "w1 w2\nw3"), Document("b", "w2 w4"), Document("c", "w5")]
NEXT = [Document("b", "w6"), Document("d", "w7 w1\nw8")]
IVF = fakes.CARD.model_copy(update={"factory": "IVF2,Flat", "sentences": True})


def build_first(name: str) -> None:
    fakes.build(name, FIRST, segment_passages=2)


def build_trained(name: str) -> None:
    fakes.build(name, FIRST, IVF)


def rebuild(name: str) -> None:
    fakes.build(name, NEXT, segment_passages=1)


def add(name: str) -> None:
    fakes.add(name, NEXT)


def remove(name: str) -> None:
    change.remove(store.folder_of(name), ids=["a", "c"])


def compact(name: str) -> None:
    change.compact(store.folder_of(name))


CHANGES: dict[str, tuple[Callable[[str], None], list[Callable[[str], None]]]] = {
    "build": (build_first, []),
    "build trained": (build_trained, []),
    "replace": (rebuild, [build_first]),
    "add": (add, [build_trained]),
    "remove": (remove, [build_first]),
    "compact": (compact, [build_first, add, remove]),
}


def state(folder: Path) -> State:
    """What the index in `folder` holds, checked byte by byte; None where there is none yet."""
    try:
        index = Index(folder)
    except IndexNotFoundError:
        return None
    assert store.faults(folder) == []
    assert len(list(index.passages())) == len(index)
    return sorted(index.documents(), key=lambda document: document.id)


class Case:
    """A change, the index before it, and what it holds before and after."""

    def __init__(self, name: str) -> None:
        self.change, before = CHANGES[name]
        for step in before:
            step("made")
        self.folder = store.folder_of("made")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.saved = self.folder.parent.parent / "saved"
        if self.folder.exists():
            shutil.copytree(self.folder, self.saved)
        self.old = state(self.folder)

    def restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.saved.exists():
            shutil.copytree(self.saved, self.folder)

    def run(self, disk: files.Disk) -> BaseException | None:
        """The change on that disk; what ended it."""
        self.restore()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "disk", disk)
            try:
                self.change("made")
            except (disks.Killed, StoredIndexError) as error:
                return error
        return None


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("fault", disks.Fault)
def test_a_fault_anywhere_leaves_the_old_or_the_new_index(name: str, fault: disks.Fault) -> None:
    case = Case(name)
    whole = disks.FaultyDisk()
    assert case.run(whole) is None
    new = state(case.folder)
    assert new is not None
    for at, operation in enumerate(whole.log):
        if fault is disks.Fault.TORN and not operation.startswith("write"):
            continue
        error = case.run(disks.FaultyDisk(at, fault))
        if fault is disks.Fault.FULL:
            assert isinstance(error, StoredIndexError), operation
            assert "No space left on device. The index was left as it was. Free some space" in str(error)
        else:
            assert isinstance(error, disks.Killed), operation
        assert state(case.folder) in (case.old, new), operation
    case.run(disks.FaultyDisk(len(whole.log) // 2, fault))
    if state(case.folder) == case.old:
        case.change("made")
    assert state(case.folder) == new


@pytest.mark.parametrize("name", CHANGES)
def test_a_power_loss_anywhere_leaves_the_old_or_the_new_index(name: str, tmp_path: Path) -> None:
    case = Case(name)
    case.restore()
    disk = disks.ForgetfulDisk(case.folder.parent)
    assert case.run(disk) is None
    new = state(case.folder)
    seen = []
    for number, snapshot in enumerate([*disk.snapshots, disk.tree.left(eager=False)]):
        left = tmp_path / str(number)
        disks.save(snapshot, left)
        seen.append(state(left / "made") if (left / "made").exists() else None)
        shutil.rmtree(left)
    assert all(found in (case.old, new) for found in seen)
    assert (seen[0], seen[-1]) == (case.old, new)


def test_what_a_killed_process_left_is_cleared_away() -> None:
    case = Case("add")
    case.run(disks.FaultyDisk(20))
    add("made")
    compact("made")
    remove("made")
    newest = generation.current(case.folder)
    named = {name for one in generation.kept(case.folder, newest) for name in one.all_files()}
    named |= {"CURRENT", generation.file_name(newest.number), generation.file_name(newest.number - 1)}
    assert {str(path.relative_to(case.folder)) for path in fakes.files_of(case.folder)} == named
