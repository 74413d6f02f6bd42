"""Disks that fail at a chosen operation, and one that forgets what was not brought to it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from odqa.index.files import Disk


class Killed(BaseException):
    """The process ended here."""


class Fault(StrEnum):
    """What happens at the chosen operation."""

    KILLED = "killed before it"
    TORN = "killed in the middle of it"
    FULL = "no space left"


class FaultyDisk(Disk):
    """Fails at operation number `at`; a killed process does nothing more after it."""

    def __init__(self, at: int | None = None, fault: Fault = Fault.KILLED) -> None:
        self.at, self.fault = at, fault
        self.log: list[str] = []
        self.dead = False

    def _step(self, what: str) -> bool:
        """Note an operation; whether it is to be torn."""
        if self.dead:
            raise Killed
        self.log.append(what)
        if len(self.log) - 1 != self.at:
            return False
        if self.fault is Fault.FULL:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.dead = True
        if self.fault is Fault.KILLED or not what.startswith("write"):
            raise Killed
        return True

    def create(self, path: Path) -> BinaryIO:
        self._step(f"create {path.name}")
        return super().create(path)

    def write(self, file: BinaryIO, data: memoryview) -> None:
        if self._step(f"write {Path(file.name).name}"):
            super().write(file, data[: len(data) // 2])
            raise Killed
        super().write(file, data)

    def sync(self, file: BinaryIO) -> None:
        self._step(f"sync {Path(file.name).name}")

    def sync_folder(self, path: Path) -> None:
        self._step(f"sync folder {path.name}")

    def rename(self, source: Path, target: Path) -> None:
        self._step(f"rename {source.name}")
        super().rename(source, target)

    def make_folder(self, path: Path) -> None:
        self._step(f"make folder {path.name}")
        super().make_folder(path)

    def remove(self, path: Path) -> None:
        self._step(f"remove {path.name}")
        super().remove(path)


Snapshot = dict[str, bytes | None]
"""Files' contents by path; None for a folder."""


@dataclass
class Node:
    """A file or folder: as it is now, and as it would be after a power loss."""

    content: bytes = b""
    durable: bytes = b""
    entries: dict[str, Node] | None = None
    durable_entries: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Node:
        """What lies at `path`, all of it durable."""
        if path.is_file():
            return cls(path.read_bytes(), path.read_bytes())
        found = {inside.name: cls.load(inside) for inside in path.iterdir()}
        return cls(entries=found, durable_entries=dict(found))

    def left(self, path: str = "", *, eager: bool) -> Snapshot:
        """What a power loss leaves: only synced entries, or (eager) all entries, always with only synced contents."""
        if self.entries is None:
            return {path: self.durable}
        entries = self.entries if eager else self.durable_entries
        inside = [node.left(f"{path}/{name}", eager=eager) for name, node in entries.items()]
        return {path: None} | {key: value for found in inside for key, value in found.items()}


def save(snapshot: Snapshot, root: Path) -> None:
    """Write what was left into a new folder."""
    for path, content in snapshot.items():
        place = root / path.lstrip("/")
        if content is None:
            place.mkdir()
        else:
            place.write_bytes(content)


class ForgetfulDisk(Disk):
    """Does all operations, and notes before each what a power loss would leave there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Node.load(root)
        self.snapshots: list[Snapshot] = []

    def _step(self) -> None:
        for eager in (False, True):
            found = self.tree.left(eager=eager)
            if found not in self.snapshots[-2:]:
                self.snapshots.append(found)

    def _node(self, path: Path) -> Node:
        node = self.tree
        for part in path.relative_to(self.root).parts:
            assert node.entries is not None
            node = node.entries[part]
        return node

    def _entries(self, path: Path) -> dict[str, Node]:
        entries = self._node(path.parent).entries
        assert entries is not None
        return entries

    def create(self, path: Path) -> BinaryIO:
        self._step()
        self._entries(path)[path.name] = Node()
        return super().create(path)

    def write(self, file: BinaryIO, data: memoryview) -> None:
        self._step()
        self._node(Path(file.name)).content += bytes(data)
        super().write(file, data)

    def sync(self, file: BinaryIO) -> None:
        self._step()
        node = self._node(Path(file.name))
        node.durable = node.content

    def sync_folder(self, path: Path) -> None:
        self._step()
        if path.is_relative_to(self.root):
            node = self._node(path)
            node.durable_entries = dict(node.entries or {})

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        self._entries(target)[target.name] = self._entries(source).pop(source.name)
        super().rename(source, target)

    def make_folder(self, path: Path) -> None:
        self._step()
        self._entries(path).setdefault(path.name, Node(entries={}))
        super().make_folder(path)

    def remove(self, path: Path) -> None:
        self._step()
        self._entries(path).pop(path.name, None)
        super().remove(path)
