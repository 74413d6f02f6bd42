"""The answers of an evaluation, saved as it goes: a line for its settings, then one for each question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from odqa.errors import ConfigError
from odqa.evaluation.answers import Answered, Best, Found
from odqa.types import Span

FILE = "outcomes.jsonl"


class Saved:
    """The file of an evaluation's answers in the report's folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Name the folder and the settings that its answers must have been made with."""
        self.path = folder / FILE
        self.settings = json.loads(json.dumps(settings))

    def begin(self, answered: Iterable[Answered] = ()) -> None:
        """Start the file anew, with the answers of an earlier run."""
        text = _line({"settings": self.settings}) + "".join(_line(asdict(one)) for one in answered)
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)

    def add(self, answered: Iterable[Answered]) -> None:
        """Append answers."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(_line(asdict(one)) for one in answered))

    def resume(self, ids: Sequence[str], batch: int) -> list[Answered]:
        """Take up the answers of an interrupted run, whole batches alone, and cut what follows them.

        Raises:
            ConfigError: they were made with other settings or belong to other questions, or the file is damaged.
        """
        lines = _whole_lines(self.path)
        if not lines:
            self.begin()
            return []
        try:
            self._check(json.loads(lines[0])["settings"])
            rows = [_answered(json.loads(line)) for line in lines[1:]]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} is damaged ({error!r}): give a new or empty folder.") from error
        kept = rows if len(rows) == len(ids) else rows[: len(rows) // batch * batch]
        if [one.id for one in kept] != list(ids[: len(kept)]):
            raise ConfigError(f"{self.path} holds the answers of other questions: give a new or empty folder.")
        self.begin(kept)
        return kept

    def _check(self, found: Mapping[str, Any]) -> None:
        for name in {**found, **self.settings}:
            if found.get(name) != self.settings.get(name):
                raise ConfigError(
                    f"{self.path} was made with {name} {found.get(name)!r}, not {self.settings.get(name)!r}: "
                    "go on with the same settings, or give a new or empty folder."
                )


def is_saved(folder: Path) -> bool:
    """Whether a folder holds the answers of an evaluation."""
    lines = _whole_lines(folder / FILE)
    return bool(lines) and lines[0].startswith('{"settings": ')


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end: a kill may leave half a line."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return []


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _answered(row: Mapping[str, Any]) -> Answered:
    found = {int(top_k): _found(one) for top_k, one in row["at"].items()}
    return Answered(row["id"], found, Span(**row["gold"]) if row["gold"] else None, row["seconds"])


def _found(row: Mapping[str, Any]) -> Found:
    best, instead = (Best(**row[name]) if row[name] else None for name in ("best", "instead"))
    return Found(best, row["gold_rank"], row["passages"], instead)
