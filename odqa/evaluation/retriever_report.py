"""A retriever's report as files: JSON, Markdown and one self-contained page of HTML."""

from __future__ import annotations

from pathlib import Path

from odqa.evaluation import files
from odqa.evaluation.dataset import load
from odqa.evaluation.misses import NEAR
from odqa.evaluation.outcomes import sample
from odqa.evaluation.retriever import KIND, RetrieverReport, evaluate_retriever
from odqa.index import Index
from odqa.recipes import RetrieverRecipe


def evaluate_to_folder(
    index: Index,
    recipe: RetrieverRecipe,
    data: str,
    out: Path | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    command: str = "",
) -> RetrieverReport:
    """Evaluate a retriever on a data set and write the report.

    Args:
        index: The index to search.
        recipe: How to search it.
        data: What `dataset.load` takes; the questions may come without their paragraphs.
        out: A folder that is new, empty, or holds an earlier report; None writes nothing.
        limit: Number of questions taken at random; all of them where None.
        seed: Of that choice, of the intervals and of the examples.
        command: For the record.

    Raises:
        ConfigError: the folder can't take the report, or the limit is below 1.
        DataError: the data can't be read, or the index lacks some of the documents asked about.
    """
    if out is not None:
        files.prepare(out, KIND)
    questions = load(data, need_context=False)
    chosen = sample(questions, limit, seed=seed)
    report = evaluate_retriever(index, recipe, chosen, data=data, available=len(questions), seed=seed, command=command)
    if out is not None:
        files.write(rendered(report), out)
    return report


def rendered(report: RetrieverReport) -> dict[str, str]:
    """The text of each file, by its name."""
    from odqa.evaluation import plots

    return {
        "report.json": files.to_json(report.to_dict()),
        "report.md": files.render("retriever.md", report=report, near=NEAR),
        "report.html": files.render("retriever.html", report=report, near=NEAR, plots=[plots.met_plot(report.curves)]),
    }
