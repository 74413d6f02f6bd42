"""A report as files: the official ones, and JSON, Markdown and one self-contained page of HTML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from odqa.errors import ConfigError
from odqa.evaluation import thresholds
from odqa.evaluation.dataset import load
from odqa.evaluation.outcomes import sample
from odqa.evaluation.reader import REPORT, ReaderReport, evaluate_reader
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe

_TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")


def evaluate_to_folder(
    recipe: ReaderRecipe, data: str, out: Path, *, limit: int | None = None, seed: int = 0, command: str = ""
) -> ReaderReport:
    """Evaluate a recipe's reader on a data set and write the report.

    Args:
        recipe: The reader, its settings and its null threshold.
        data: What `dataset.load` takes.
        out: A folder that is new, empty, or holds an earlier report.
        limit: Number of questions taken at random; all of them where None.
        seed: Of that choice, of the intervals and of the examples.
        command: For the record.

    Raises:
        ConfigError: the folder can't take the report, or the limit is below 1.
        DataError: the data can't be read, or a question can't be asked.
        ModelError: the model can't be found or is no reader.
    """
    prepare(out)
    questions = load(data)
    chosen = sample(questions, limit, seed=seed)
    report = evaluate_reader(Reader(recipe), chosen, data=data, available=len(questions), seed=seed, command=command)
    write(report, out)
    return report


def prepare(out: Path) -> None:
    """Make the folder for a report.

    Raises:
        ConfigError: it holds other things than an earlier report, or can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = any(out.iterdir()) and not _holds_report(out / "report.json")
    except OSError as error:
        raise ConfigError(f"Can't write a report to {out}: {error.strerror}.") from None
    if foreign:
        raise ConfigError(f"{out} holds other files and no report of a reader: give a new or empty folder.")


def write(report: ReaderReport, out: Path) -> None:
    """Write all files of a report into a folder.

    Raises:
        ConfigError: they can't be written.
    """
    files = rendered(report)
    try:
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Can't write a report to {out}: {error.strerror}.") from None


def rendered(report: ReaderReport) -> dict[str, str]:
    """The text of each file, by its name."""
    found, tuned = report.outcomes, report.tuned.threshold
    return {
        "report.json": to_json(report.to_dict()),
        "predictions.json": to_json(thresholds.abstaining(found, tuned)),
        "predictions_forced.json": to_json(thresholds.forced(found)),
        "na_probs.json": to_json(thresholds.na_probs(found)),
        "report.md": _environment().get_template("reader.md").render(report=report),
        "report.html": _environment().get_template("reader.html").render(report=report, plots=_plots(report)),
    }


def to_json(value: Mapping[str, Any]) -> str:
    """JSON that any parser takes: UTF-8, no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _holds_report(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(found, dict) and found.get("report") == REPORT


def _plots(report: ReaderReport) -> list[Any]:
    from odqa.evaluation import plots

    return [
        plots.precision_recall_plot(report.outcomes, report.scores),
        plots.margin_plot(report.outcomes, report.thresholds),
        plots.reliability_plot(report.reliability),
    ]


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
