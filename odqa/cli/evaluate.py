"""`odqa eval` and `odqa reproduce`: how good the parts and the whole are, and whether that is what was expected."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odqa.cli import options
from odqa.text import counted

if TYPE_CHECKING:
    from odqa.evaluation.compare import Change
    from odqa.evaluation.pipeline import PipelineReport
    from odqa.evaluation.reader import ReaderReport
    from odqa.evaluation.reproduce import Comparison, Reproduction
    from odqa.evaluation.retriever import RetrieverReport

_KEYS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact")
_data = click.option(
    "--data", required=True, metavar="DATA", help="Questions: a file in SQuAD form, or the name of a data set."
)
_out = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for the report: new, empty or an earlier one."
)
_index = click.option("--index", metavar="NAME", help="Evaluate over this index instead of the recipe's.")
_limit = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Take this many random questions; all without it."
)
_seed = click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of all that is random.")


@click.group("eval")
def evaluate() -> None:
    """Measure how good the parts and the whole are."""


@evaluate.command()
@options.pipeline
@_data
@_out
@_limit
@_seed
@options.as_json
def reader(pipeline: str, data: str, out: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Evaluate a recipe's reader, every question on its own passage.

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


@evaluate.command("pipeline")
@options.pipeline
@_index
@_data
@_out
@click.option(
    "--top-k",
    "top_ks",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Passages to read; without it as the recipe says. Several are taken from one reading.",
)
@_limit
@_seed
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run left in the folder.")
@options.as_json
def whole(pipeline: str, index: str | None, data: str, out: Path, as_json: bool, **settings: Any) -> None:
    """Evaluate a recipe's whole pipeline over its index.

    Beside the official scores the report says where each question was lost, what retrieval costs against reading the
    gold passage, and how well the pipeline knows what it knows. Questions of your own may be lines of JSON with
    "question", "answers" and, if known, "document_id".

    Writes predictions.json, predictions_forced.json, na_probs.json, report.json, report.md and report.html for the
    largest --top-k, and outcomes.jsonl as it goes.
    """
    from odqa.evaluation.pipeline_report import evaluate_to_folder
    from odqa.pipeline import Pipeline

    report = evaluate_to_folder(Pipeline.load(pipeline, index=index), data, out, command=_command(), **settings)
    if as_json:
        return click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    _show_depths(report)
    return click.echo(f"Report: {out / 'report.html'}", err=True)


@evaluate.command()
@options.pipeline
@_index
@_data
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report; without it only a table is shown.")
@_limit
@_seed
@options.as_json
def retriever(pipeline: str, index: str | None, data: str, out: Path | None, as_json: bool, **settings: Any) -> None:
    """Evaluate a recipe's retriever: dense, sparse and fused.

    What counts is the document that each question was asked about. Questions of your own may be lines of JSON with
    "question", "answers" and, if known, "document_id"; without it, answer strings in the passages count.

    With --out writes report.json, report.md and report.html.
    """
    from odqa import recipes
    from odqa.evaluation.retriever_report import evaluate_to_folder
    from odqa.index import Index

    recipe = recipes.load_pipeline(pipeline)
    opened = Index.open(index or recipe.index)
    report = evaluate_to_folder(opened, recipe.retriever, data, out, command=_command(), **settings)
    if as_json:
        return click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    _show_sides(report)
    return click.echo(f"Report: {out / 'report.html'}", err=True) if out else None


@evaluate.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--max-drop",
    "max_drops",
    multiple=True,
    metavar="SCORE=POINTS",
    help="Largest drop allowed, in percent points, such as f1=0.3; may be given several times.",
)
@_seed
@options.as_json
def compare(first: Path, second: Path, max_drops: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Compare two report.json of the same questions.

    FIRST is what stands, SECOND what is new. The interval is of the difference, from a bootstrap over articles: where
    it holds 0, the verdict is "no clear difference". The exit code is 1 where a score fell, on these questions, by more
    than --max-drop allows: the measured difference counts, not the interval.
    """
    from odqa.evaluation.compare import compare as run

    changes = run(first, second, max_drop=dict(map(_max_drop, max_drops)), seed=seed)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in changes], indent=2))
    else:
        _show_changes(changes)
    if not all(one.passed for one in changes):
        sys.exit(1)


@click.command()
@click.argument("name")
@_data
@_out
@click.option(
    "--model",
    metavar="MODEL",
    help="Reader to hold against the recipe: a folder or a name; the recipe's own without it.",
)
@click.option(
    "--train",
    "files",
    multiple=True,
    metavar="DATA",
    help="Train the recipe's reader on these questions first, in OUT-training, where an interrupted training goes on.",
)
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON with the titles held out of training, by purpose.",
)
@options.as_json
def reproduce(
    name: str, data: str, out: Path, model: str | None, files: tuple[str, ...], splits: Path | None, as_json: bool
) -> None:
    """Hold the reader of the recipe NAME against its expected scores.

    The exit code is 1 where a score falls short by more than the recipe's tolerance.
    """
    from odqa.evaluation.reproduce import reproduce as run

    if files and model is not None:
        raise click.UsageError("--model and --train exclude each other: a reader is given, or trained.")

    def trained() -> str:
        from odqa.training.reader import train_reader

        return str(train_reader(name, files, out.with_name(f"{out.name}-training"), splits=splits, resume=True).folder)

    found = run(name, data, out, model=model, train=trained if files else None, command=_command())
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


def _show_sides(report: RetrieverReport) -> None:
    from odqa.cli import render

    keys = ("recall@1", "recall@5", "recall@10", "recall@20", "mrr@100", "ndcg@10", "hit_rate@10")
    known = [
        key for key in keys if any(key in scores for groups in report.scores.values() for scores in groups.values())
    ]
    rows = [
        [f"{side}, {group}", *(f"{scores[key].mean:.3f}" if key in scores else "" for key in known)]
        for side, groups in report.scores.items()
        for group, scores in groups.items()
        if scores
    ]
    render.table(["", *known], rows, numbers=known)
    counts = ", ".join(f"{count:,} {group}" for group, count in report.groups.items())
    click.echo(f"{report.index.name}: {counted(report.index.documents, 'document')}; questions: {counts}.", err=True)


def _show_depths(report: PipelineReport) -> None:
    from odqa.cli import render

    lines: list[tuple[str, float | None, Mapping[str, float]]] = []
    if report.gold is not None:
        lines.append(("gold passage", None, report.gold.scores))
    lines += [(f"top {top_k}", depth.retrieved, depth.scores) for top_k, depth in report.depths.items()]
    rows = [
        (name, _percent(None if retrieved is None else 100 * retrieved), *(_percent(scores.get(key)) for key in _KEYS))
        for name, retrieved, scores in lines
    ]
    render.table(["passages", "retrieved", *_KEYS], rows, numbers=["retrieved", *_KEYS])
    lost = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.deepest.losses.items())
    click.echo(f"Top {report.deepest.top_k}: {lost}; {report.questions_per_second:,.1f} questions a second", err=True)


def _show_comparisons(found: Reproduction) -> None:
    from odqa.cli import render

    rows = [
        (one.key, _percent(one.expected), _percent(one.found), f"{one.difference:+.2f}", _verdict(one))
        for one in found.comparisons
    ]
    numbers = ["expected", "found", "difference"]
    render.table(["score", *numbers, "verdict"], rows, numbers=numbers)


def _max_drop(given: str) -> tuple[str, float]:
    key, _, points = given.partition("=")
    try:
        return key, float(points)
    except ValueError:
        raise click.BadParameter(f'"{given}": write it like f1=0.3', param_hint="--max-drop") from None


def _show_changes(changes: Sequence[Change]) -> None:
    from odqa.cli import render

    rows = [
        (
            one.key,
            _percent(one.first),
            _percent(one.second),
            f"{one.difference:+.2f}",
            f"{one.interval[0]:+.2f} to {one.interval[1]:+.2f}",
            one.verdict if one.passed else f"{one.verdict}; fell by more than {one.allowed:g}",
        )
        for one in changes
    ]
    numbers = ["first", "second", "difference", "95 % interval"]
    render.table(["score", *numbers, "verdict"], rows, numbers=numbers)


def _verdict(one: Comparison) -> str:
    return "reached" if one.reached else f"falls short by more than {one.tolerance:g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
