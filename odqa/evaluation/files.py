"""A report as files in a folder, and the parts that all reports render with."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from odqa.errors import ConfigError

_TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")


def prepare(out: Path, kind: str) -> None:
    """Make the folder for a report of a `kind`, such as "reader".

    Raises:
        ConfigError: it holds other things than an earlier report of that kind, or can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = any(out.iterdir()) and not _holds_report(out / "report.json", report_name(kind))
    except OSError as error:
        raise ConfigError(f"Can't write a report to {out}: {error.strerror}.") from None
    if foreign:
        raise ConfigError(f"{out} holds other files and no report of a {kind}: give a new or empty folder.")


def report_name(kind: str) -> str:
    """What `report.json` calls a report of a kind."""
    return f"odqa {kind} evaluation"


def write(files: Mapping[str, str], out: Path) -> None:
    """Write texts into a folder, by their file names.

    Raises:
        ConfigError: they can't be written.
    """
    try:
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Can't write a report to {out}: {error.strerror}.") from None


def to_json(value: Mapping[str, Any]) -> str:
    """JSON that any parser takes: UTF-8, no NaN; the scores of the `questions` stand on one line."""
    text = json.dumps({**value, "questions": 0}, ensure_ascii=False, indent=2, allow_nan=False)
    if "questions" not in value:
        return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    rows = json.dumps(value["questions"], ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace('\n  "questions": 0', f'\n  "questions": {rows}') + "\n"


def render(template: str, **values: Any) -> str:
    """Fill a template of the `templates` folder."""
    text: str = _environment().get_template(template).render(**values)
    return text


def _holds_report(path: Path, name: str) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(found, dict) and found.get("report") == name


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cell": _cell, "percent": _percent, "threshold": _threshold, "words": _words}
    return made


def _cell(text: object) -> str:
    """Text that is only text in a Markdown table."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\1", line)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _threshold(value: float) -> str:
    if math.isfinite(value):
        return f"{value:.2f}"
    return "answers always" if value < 0 else "answers never"


def _words(name: str) -> str:
    return name.replace("_", " ")
