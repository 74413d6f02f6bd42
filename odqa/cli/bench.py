"""`odqa bench`: how fast and how large things are on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from odqa.cli import options

if TYPE_CHECKING:
    from odqa.bench import Report

_data = click.option(
    "--data", metavar="DATA", help="Questions with their passages: a file in SQuAD form, or the name of a data set."
)
_device = click.option(
    "--device", metavar="DEVICE", help="Where the models run: cpu, openvino, cuda; the best there is by default."
)
_index = click.option("--index", metavar="NAME", help="An index instead of the recipe's.")
_questions = click.argument("questions", nargs=-1)
_rounds = click.option(
    "--rounds", type=click.IntRange(min=1), metavar="N", default=3, show_default=True, help="Turns of each."
)
_top_k = click.option(
    "--top-k", type=click.IntRange(min=1), metavar="N", default=10, show_default=True, help="Passages a question."
)
_against = click.option(
    "--against",
    multiple=True,
    metavar="PYTHON",
    help="Interpreter whose peers do the same work, such as venv/bin/python; may be given often.",
)


def _number(option: str, default: int, text: str) -> Callable[..., Any]:
    return click.option(option, type=click.IntRange(min=1), metavar="N", default=default, show_default=True, help=text)


@click.group()
def bench() -> None:
    """Measure how fast and how large things are on this machine.

    What is compared takes turns on the same work in one run; "odqa's ratio" is how many times as fast odqa is.
    """


@bench.command()
@click.option("--model", metavar="MODEL", help="A sentence-transformers model; the built-in one by default.")
@click.option("--data", metavar="SOURCE", help="Source of the passages; the bundled corpus by default.")
@_number("--passages", 500, "Passages to embed.")
@_rounds
@_device
@_against
@options.as_json
def embed(model: str | None, as_json: bool, **settings: Any) -> None:
    """Embed passages: odqa's embedder against sentence-transformers' encode, here and in other interpreters."""
    from odqa.bench.embed import measure
    from odqa.recipes import Card

    _show(measure(model or Card().embedder, **settings), as_json=as_json)


@bench.command()
@_questions
@options.pipeline
@_index
@_data
@_number("--count", 100, "Questions to ask.")
@_top_k
@options.as_json
def search(pipeline: str, index: str | None, as_json: bool, **settings: Any) -> None:
    """Search an index by vectors, by terms and by both, for QUESTIONS, those of --data, or made-up ones."""
    from odqa.bench.search import measure
    from odqa.recipes import load_pipeline

    recipe = load_pipeline(pipeline)
    _show(measure(recipe.retriever, index or recipe.index, **settings), as_json=as_json)


@bench.command()
@_questions
@options.pipeline
@_data
@_number("--pairs", 500, "Question-passage pairs to read, one by one and by questions.")
@_top_k
@_rounds
@_device
@_against
@options.as_json
def read(pipeline: str, as_json: bool, **settings: Any) -> None:
    """Read passages: odqa's engine against plain torch, and against readers in other interpreters.

    QUESTIONS, or made-up ones, are asked of the bundled corpus where there is no --data. Known in other interpreters
    are the question-answering pipeline of transformers 4, Haystack's extractive reader and txtai's Questions.
    """
    from odqa.bench.read import measure
    from odqa.pipeline import reader_recipe
    from odqa.recipes import load_pipeline

    _show(measure(reader_recipe(load_pipeline(pipeline)), **settings), as_json=as_json)


@bench.command()
@options.pipeline
@click.option(
    "--bert-base", is_flag=True, help="A reader of BERT-base's size with random weights in the recipe's place."
)
@_number("--tokens", 384, "Length of the windows.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5, show_default=True, help="For each size of batch.")
@_device
@options.as_json
def forward(pipeline: str, bert_base: bool, as_json: bool, **settings: Any) -> None:
    """Run windows through the reader's model alone: rates, and the share of what products of matrices reach here."""
    from odqa.bench.forward import measure
    from odqa.pipeline import reader_recipe
    from odqa.recipes import load_pipeline

    _show(measure(None if bert_base else reader_recipe(load_pipeline(pipeline)).model, **settings), as_json=as_json)


@bench.command()
@_questions
@options.pipeline
@_index
@_data
@_number("--count", 100, "Questions to the warm pipeline.")
@_number("--cold", 5, "Questions in a process of their own each.")
@_device
@options.as_json
def ask(pipeline: str, as_json: bool, **settings: Any) -> None:
    """Ask an index QUESTIONS, those of --data, or made-up ones: in a fresh process each, then in a warm one."""
    from odqa.bench.ask import measure

    _show(measure(pipeline, **settings), as_json=as_json)


@bench.command()
@options.pipeline
@_index
@click.option("--clients", multiple=True, type=click.IntRange(min=1), default=(1, 8, 32), show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True, help="A round.")
@_top_k
@click.option("--compare", is_flag=True, help="Without micro-batching, too.")
@click.option("--churn", is_flag=True, help="Add and remove documents meanwhile.")
@options.as_json
def serve(pipeline: str, as_json: bool, **settings: Any) -> None:
    """Start a service and put it under load: what counts are answers within two seconds."""
    from odqa.bench.serve import measure

    _show(measure(pipeline, **settings), as_json=as_json)


@bench.command()
@_number("--passages", 1_000_000, "Passages to make up.")
@click.option("--factory", "factories", multiple=True, default=["Flat"], show_default=True, help="May be given often.")
@click.option("--gpu", is_flag=True, help="Search the vectors on the first GPU, too.")
@options.as_json
def index(passages: int, factories: tuple[str, ...], gpu: bool, as_json: bool) -> None:
    """Build and search indexes of made-up passages: words by Zipf's law, real embeddings with noise."""
    from odqa.bench.index import measure

    _show(measure(passages, factories, gpu=gpu), as_json=as_json)


def _show(report: Report, *, as_json: bool) -> None:
    from odqa.cli import render

    if as_json:
        return click.echo(json.dumps(report.to_dict(), indent=2))
    headings, *rows = report.table()
    render.table(headings, rows, numbers=headings[1:])
    told = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    click.echo("\n".join(["", told, *report.machine.lines()]))
    for reason in report.failed.values():
        click.echo(f"Left out: {reason}", err=True)
    return None
