"""`odqa train`: fine-tune the parts."""

from __future__ import annotations

from pathlib import Path

import click

from odqa.cli import options


@click.group()
def train() -> None:
    """Fine-tune the parts of a pipeline."""


@train.command()
@options.pipeline
@click.option("--data", required=True, multiple=True, help="Questions in SQuAD form; give it again for more files.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder, new or empty.")
@click.option("--splits", type=click.Path(path_type=Path), help="JSON with the titles held out, by purpose.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--half", is_flag=True, help="Write the weights in half precision.")
@click.option("--save-every", type=click.IntRange(min=1), default=200, show_default=True, help="Steps a checkpoint.")
def reader(
    pipeline: str, data: tuple[str, ...], out: Path, splits: Path | None, resume: bool, half: bool, save_every: int
) -> None:
    """Train the reader of a recipe with a [training] table."""
    from odqa.training.reader import train_reader

    done = train_reader(pipeline, data, out, splits=splits, resume=resume, half=half, save_every=save_every)
    click.echo(f"Trained {done.folder}: select F1 {done.select['f1']:.2f}, null threshold {done.null_threshold:.3f}.")
