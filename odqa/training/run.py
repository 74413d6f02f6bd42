"""The folder of one training run: what it was begun with, whether it may go on, and its log."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

import odqa
from odqa.errors import ConfigError
from odqa.training import checkpoints

_LOCK = ".lock"
_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")


class RunFolder:
    """`OUT`: `run.json`, `checkpoints/`, `metrics.jsonl` and, at the end, `model/`; `part` is what is trained."""

    def __init__(self, root: Path, *, part: str = "reader") -> None:
        """Name the folder; nothing is written."""
        self.root = root
        self.part = part
        self.checkpoints = root / "checkpoints"
        self.model = root / "model"
        self.metrics = root / "metrics.jsonl"
        self.record = root / "run.json"

    def draft(self, name: str) -> Path:
        """An empty place, not yet a folder, for what is being written."""
        path = self.root / f"{name}.{checkpoints.DRAFT}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def check(self, *, resume: bool) -> None:
        """See that a run may begin or go on here.

        Raises:
            ConfigError: the folder holds something else, a finished model, or a run that is not to be resumed.
        """
        held = [path.name for path in self.root.glob("*") if path.name != _LOCK] if self.root.is_dir() else []
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"{self.root} is a file. Give a folder for the trained {self.part}.")
        if held and not self.record.is_file():
            raise ConfigError(f"{self.root} holds other files ({sorted(held)[0]}). Give an empty or a new folder.")
        if held and not resume:
            state = f"a finished {self.part}" if self.model.is_dir() else "an unfinished run"
            raise ConfigError(f"{self.root} holds {state}. Resume it, or give another folder.")

    def begin(self, identity: Mapping[str, object], details: Mapping[str, object]) -> None:
        """Note what a new run is begun with, or compare it with what the old one was.

        Raises:
            ConfigError: the folder belongs to another recipe, base model or data.
        """
        if self.record.is_file():
            self._compare(identity)
            return
        self.root.mkdir(parents=True, exist_ok=True)
        draft = self.record.with_suffix(f".{checkpoints.DRAFT}")
        draft.write_text(json.dumps(dict(identity) | dict(details), indent=2) + "\n", encoding="utf-8")
        draft.replace(self.record)

    def _compare(self, identity: Mapping[str, object]) -> None:
        try:
            begun = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.record} is damaged ({error}). Give another folder.") from None
        for name, value in json.loads(json.dumps(dict(identity))).items():
            if begun.get(name) != value:
                was, now = _difference(begun.get(name), value)
                raise ConfigError(
                    f"{self.root} belongs to another run: its {name} had {was}, now {now}. "
                    "Give what it was begun with, or another folder."
                )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; the lock dies with its process.

        Raises:
            ConfigError: another process trains in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"Another process is training in {self.root}. Wait for it, or give another folder."
            ) from None
        try:
            yield
        finally:
            lock.release()


def versions(*more: str) -> dict[str, str]:
    """What a run depends on: the libraries that each does, and `more` of them."""
    return {"odqa": odqa.__version__, "python": platform.python_version()} | {
        name: version(name) for name in (*_LIBRARIES, *more)
    }


def is_main() -> bool:
    """Whether this is the process that writes, among those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def world_size() -> int:
    """How many processes a launcher started, each with a device."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _difference(was: object, now: object) -> tuple[object, object]:
    """The first entry that differs, so that a message shows it and not two whole tables."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in sorted({*was, *now}):
            if was.get(key) != now.get(key):
                return f"{key} = {was.get(key)!r}", f"{key} = {now.get(key)!r}"
    return was, now


def torch_device() -> str:
    """Where torch trains here."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
