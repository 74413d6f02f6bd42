"""`odqa train`: fine-tune the parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from odqa.cli import options

_data = click.option(
    "--data",
    required=True,
    multiple=True,
    metavar="DATA",
    help="Questions in SQuAD form; give it again for more files.",
)
_out = click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="The run's folder, new or empty."
)
_splits = click.option(
    "--splits", type=click.Path(path_type=Path), metavar="FILE", help="JSON with the titles held out, by purpose."
)
_resume = click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
_base = click.option("--base", metavar="MODEL", help="Begin from this model, such as a trained one, not the recipe's.")
_seed = click.option("--seed", type=click.IntRange(min=0), metavar="N", help="In place of the recipe's.")
_half = click.option("--half", is_flag=True, help="Write the weights in half precision.")
_save_every = click.option(
    "--save-every", type=click.IntRange(min=1), metavar="N", default=200, show_default=True, help="Steps a checkpoint."
)


def _training(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that trains."""
    for option in (_save_every, _half, _resume, _splits, _seed, _base, _out, _data, options.pipeline):
        command = option(command)
    return command


@click.group()
def train() -> None:
    """Fine-tune the parts of a pipeline."""


@train.command()
@_training
def reader(pipeline: str, data: tuple[str, ...], out: Path, **given: Any) -> None:
    """Train the reader of a recipe with a [training] table."""
    from odqa.training.reader import train_reader

    done = train_reader(pipeline, data, out, **given)
    click.echo(f"Trained {done.folder}: select F1 {done.select['f1']:.2f}, null threshold {done.null_threshold:.3f}.")


@train.command()
@_training
def retriever(pipeline: str, data: tuple[str, ...], out: Path, **given: Any) -> None:
    """Train the embedder of a recipe with a [retriever_training] table."""
    from odqa.training.retriever import train_retriever

    done = train_retriever(pipeline, data, out, **given)
    click.echo(f"Trained {done.folder}: {done.summary}.")
