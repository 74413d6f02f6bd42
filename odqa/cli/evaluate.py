"""`odqa eval` and `odqa reproduce`: how good a reader is, and whether it is as good as its recipe says."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odqa.cli import options

if TYPE_CHECKING:
    from odqa.evaluation.reader import ReaderReport
    from odqa.evaluation.reproduce import Comparison, Reproduction

_KEYS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact")
_data = click.option("--data", required=True, help="Questions: a file in SQuAD form, or the name of a data set.")
_out = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for the report: new, empty or an earlier one."
)


@click.group("eval")
def evaluate() -> None:
    """Measure how good the parts are."""


@evaluate.command()
@options.pipeline
@_data
@_out
@click.option("--limit", type=click.IntRange(min=1), help="Take this many random questions; all without it.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice, the intervals and the examples.")
@options.as_json
def reader(pipeline: str, data: str, out: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Evaluate a recipe's reader, every question against its own passage.

    Writes predictions.json, predictions_forced.json, na_probs.json, report.json, report.md and report.html.
    """
    from odqa import recipes
    from odqa.evaluation.report import evaluate_to_folder
    from odqa.pipeline import reader_recipe

    recipe = reader_recipe(recipes.load_pipeline(pipeline))
    report = evaluate_to_folder(recipe, data, out, limit=limit, seed=seed, command=_command())
    if as_json:
        return click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    _show_scores(report)
    return click.echo(f"Report: {out / 'report.html'}", err=True)


@evaluate.command()
@options.pipeline
@click.option("--index", help="Evaluate over this index instead of the recipe's.")
@_data
@options.as_json
def retriever(pipeline: str, index: str | None, data: str, as_json: bool) -> None:
    """Evaluate a recipe's retriever: dense, sparse and fused, by the document that each question was asked about."""
    from odqa import recipes
    from odqa.cli import render
    from odqa.evaluation.dataset import load
    from odqa.evaluation.retriever import evaluate_retriever
    from odqa.index import Index

    recipe = recipes.load_pipeline(pipeline)
    report = evaluate_retriever(Index.open(index or recipe.index), recipe.retriever, load(data))
    if as_json:
        return click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    names = [*(f"recall@{k}" for k in (1, 5, 10, 20, 100)), "mrr@100", "ndcg@10"]
    rows = [
        [f"{side}, {group}", *(f"{scores[name]:.3f}" for name in names)]
        for side, groups in report.scores.items()
        for group, scores in groups.items()
    ]
    render.table(["", *names], rows, numbers=names)
    counts = ", ".join(f"{count:,} {group}" for group, count in report.questions.items())
    return click.echo(f"{report.index}: {report.documents:,} documents; questions: {counts}.", err=True)


@click.command()
@click.argument("name")
@_data
@_out
@click.option("--model", help="Reader to hold against the recipe: a folder or a name; the recipe's own without it.")
@options.as_json
def reproduce(name: str, data: str, out: Path, model: str | None, as_json: bool) -> None:
    """Evaluate the reader of the recipe NAME and hold it against the scores that the recipe expects.

    The exit code is 1 where a score falls short by more than the recipe's tolerance.
    """
    from odqa.evaluation.reproduce import reproduce as run

    found = run(name, data, out, model=model, command=_command())
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _show_comparisons(found)
        click.echo(f"Expected: {found.source}. Report: {out / 'report.html'}", err=True)
    if not found.reached:
        sys.exit(1)


def _command() -> str:
    return shlex.join(["odqa", *sys.argv[1:]])


def _show_scores(report: ReaderReport) -> None:
    from odqa.cli import render

    rows = [
        (name, f"{point.threshold:.2f}", *(_percent(point.scores.get(key)) for key in _KEYS))
        for name, point in report.thresholds.items()
    ]
    render.table(["threshold", "margin", *_KEYS], rows, numbers=["margin", *_KEYS])
    click.echo(f"{report.questions_per_second:,.1f} questions a second", err=True)


def _show_comparisons(found: Reproduction) -> None:
    from odqa.cli import render

    rows = [
        (one.key, _percent(one.expected), _percent(one.found), f"{one.difference:+.2f}", _verdict(one))
        for one in found.comparisons
    ]
    numbers = ["expected", "found", "difference"]
    render.table(["score", *numbers, "verdict"], rows, numbers=numbers)


def _verdict(one: Comparison) -> str:
    return "reached" if one.reached else f"falls short by more than {one.tolerance:g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
