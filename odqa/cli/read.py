"""`odqa read`: one question to one context."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import click

from odqa.cli import options


@click.command()
@click.argument("question")
@click.argument("context", required=False)
@click.option("--file", "file", type=click.File(encoding="utf-8"), help="Read the context from this file.")
@options.answering
def read(question: str, context: str | None, file: TextIO | None, pipeline: str, as_json: bool, **choices: Any) -> None:
    """Ask a QUESTION of one CONTEXT: a text, a --file, or a pipe.

    No index is needed.
    """
    from odqa import recipes
    from odqa.cli import render
    from odqa.pipeline import reader_recipe
    from odqa.reader import Reader

    text = _context(context, file)
    reader = Reader(reader_recipe(recipes.load_pipeline(pipeline)))
    options.note_risk(reader.calibration, choices["max_risk"])
    result = reader.answer(question, text, **choices)
    if as_json:
        return click.echo(json.dumps(result.to_dict(), ensure_ascii=False, indent=2))
    return render.result(result)


def _context(context: str | None, file: TextIO | None) -> str:
    if context is not None and file is not None:
        raise click.UsageError("Give a context or --file, not both.")
    if context is not None:
        return context
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Give a context: a second argument, --file, or a pipe.")
    try:
        return (sys.stdin if file is None else file).read()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The context is not UTF-8: {error}") from None
