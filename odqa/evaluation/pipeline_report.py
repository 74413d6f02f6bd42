"""A pipeline's report as files: the official ones, and JSON, Markdown and one self-contained page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odqa import __version__
from odqa.errors import ConfigError
from odqa.evaluation import files, thresholds
from odqa.evaluation.dataset import load
from odqa.evaluation.outcomes import sample
from odqa.evaluation.pipeline import KIND, PipelineReport, checked_top_ks, evaluate_pipeline
from odqa.evaluation.provenance import Provenance, provenance
from odqa.evaluation.saved import FILE, Saved, is_saved
from odqa.pipeline import Pipeline


def evaluate_to_folder(
    pipeline: Pipeline,
    data: str,
    out: Path,
    *,
    top_ks: Sequence[int] = (),
    limit: int | None = None,
    seed: int = 0,
    resume: bool = False,
    command: str = "",
) -> PipelineReport:
    """Evaluate a pipeline on a data set and write the report; the answers are saved on the way.

    Args:
        pipeline: The pipeline, over the index to ask.
        data: What `dataset.load` takes; the questions may come without their paragraphs.
        out: A folder that is new, empty, or holds an earlier report.
        top_ks: Numbers of passages to read, all from one reading; the recipe's where there is none.
        limit: Number of questions taken at random; all of them where None.
        seed: Of that choice, of the intervals and of the examples.
        resume: Whether to go on with what an interrupted run left in `out`.
        command: For the record.

    Raises:
        ConfigError: the folder can't take the report or holds an interrupted run, what is to be resumed was made with
            other settings, or an option has a value that can't be.
        DataError: the data can't be read, a question can't be asked, or the index lacks some of the documents.
    """
    prepare(out, resume=resume)
    questions = load(data, need_context=False)
    chosen = sample(questions, limit, seed=seed)
    origin = provenance(pipeline.reader.recipe, data, available=len(questions), seed=seed)
    saved = Saved(out, _settings(pipeline, origin, checked_top_ks(pipeline, top_ks), len(chosen)))
    if not resume:
        _begin(saved, out / "report.json")
    report = evaluate_pipeline(
        pipeline,
        chosen,
        top_ks=top_ks,
        saved=saved,
        data=data,
        available=len(questions),
        seed=seed,
        command=command,
    )
    files.write(rendered(report), out)
    return report


def _begin(saved: Saved, earlier: Path) -> None:
    """Start anew; the earlier report goes, so that what is left after a kill is known as interrupted."""
    try:
        saved.begin()
        earlier.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"Can't write a report to {earlier.parent}: {error.strerror}.") from None


def prepare(out: Path, *, resume: bool) -> None:
    """Make the folder for a report.

    Raises:
        ConfigError: it holds other things, or the answers of an interrupted run that is not to be resumed.
    """
    if not is_saved(out):
        files.prepare(out, KIND)
    elif not resume and not (out / "report.json").is_file():
        raise ConfigError(
            f"{out} holds the answers of an interrupted evaluation: go on with --resume, or delete {out / FILE}."
        )


def rendered(report: PipelineReport) -> dict[str, str]:
    """The text of each file, by its name."""
    found, tuned = report.outcomes, report.deepest.tuned.threshold
    return {
        "report.json": files.to_json(report.to_dict()),
        "predictions.json": files.to_json(thresholds.abstaining(report.given, tuned)),
        "predictions_forced.json": files.to_json(thresholds.forced(found)),
        "na_probs.json": files.to_json(thresholds.na_probs(found)),
        "report.md": files.render("pipeline.md", report=report, deepest=report.deepest),
        "report.html": files.render("pipeline.html", report=report, deepest=report.deepest, plots=_plots(report)),
    }


def _settings(pipeline: Pipeline, origin: Provenance, top_ks: Sequence[int], questions: int) -> Mapping[str, Any]:
    """All that moves an answer, and so must be the same when an evaluation goes on."""
    index = pipeline.retriever.index
    return {
        "odqa": __version__,
        "pipeline": pipeline.name,
        "index": index.name,
        "generation": index.generation.number,
        "retriever": pipeline.retriever.recipe.model_dump(mode="json"),
        "reader": origin.settings,
        "fingerprint": origin.fingerprint,
        "calibration": None if pipeline.calibration is None else pipeline.calibration.model_dump(mode="json"),
        "data": origin.data_sha256 or origin.data,
        "questions": questions,
        "seed": origin.seed,
        "top_k": list(top_ks),
    }


def _plots(report: PipelineReport) -> list[Any]:
    from odqa.evaluation import plots

    deepest = report.deepest
    return [
        plots.risk_coverage_plot(deepest.risk),
        plots.reliability_plot(deepest.reliability),
        plots.margin_plot(report.outcomes, deepest.thresholds, label=report.measure),
        plots.precision_recall_plot(report.outcomes, deepest.scores),
    ]
