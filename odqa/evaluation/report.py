"""A report as files: the official ones, and JSON, Markdown and one self-contained page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from odqa.evaluation import files, thresholds
from odqa.evaluation.dataset import load
from odqa.evaluation.outcomes import sample
from odqa.evaluation.reader import ReaderReport, evaluate_reader
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe


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
    files.prepare(out, "reader")
    questions = load(data)
    chosen = sample(questions, limit, seed=seed)
    report = evaluate_reader(Reader(recipe), chosen, data=data, available=len(questions), seed=seed, command=command)
    write(report, out)
    return report


def write(report: ReaderReport, out: Path) -> None:
    """Write all files of a report into a folder.

    Raises:
        ConfigError: they can't be written.
    """
    files.write(rendered(report), out)


def rendered(report: ReaderReport) -> dict[str, str]:
    """The text of each file, by its name."""
    found, tuned = report.outcomes, report.tuned.threshold
    return {
        "report.json": files.to_json(report.to_dict()),
        "predictions.json": files.to_json(thresholds.abstaining(found, tuned)),
        "predictions_forced.json": files.to_json(thresholds.forced(found)),
        "na_probs.json": files.to_json(thresholds.na_probs(found)),
        "report.md": files.render("reader.md", report=report),
        "report.html": files.render("reader.html", report=report, plots=_plots(report)),
    }


def _plots(report: ReaderReport) -> list[Any]:
    from odqa.evaluation import plots

    return [
        plots.precision_recall_plot(report.outcomes, report.scores),
        plots.margin_plot(report.outcomes, report.thresholds),
        plots.reliability_plot(report.reliability),
    ]
