"""`odqa calibrate`: thresholds, probabilities and promises for a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odqa.cli import options

if TYPE_CHECKING:
    from odqa.training.fit import Calibrated


@click.command()
@options.pipeline
@click.option("--index", metavar="NAME", help="The index to ask; without it one is built of the held-out articles.")
@click.option(
    "--data", required=True, metavar="DATA", help="Questions in SQuAD form that the models were not trained with."
)
@click.option(
    "--splits", type=click.Path(path_type=Path), metavar="FILE", help="JSON with the titles held out, by purpose."
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="N", help="Passages to read; the recipe's number without it."
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 0.999),
    metavar="P",
    default=0.9,
    show_default=True,
    help="Of each promised risk.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE",
    required=True,
    help="The JSON file to write.",
)
def calibrate(pipeline: str, out: Path, **settings: Any) -> None:
    """Fit thresholds, probabilities and promised risks.

    The file takes effect beside the reader, as calibration.json, or where a recipe names it.
    """
    from odqa.training.calibrate import calibrate as fit
    from odqa.training.fit import check_writable

    check_writable(out)
    done = fit(pipeline, **settings)
    done.write(out)
    _show(done)
    click.echo(f'Wrote {out}. Use it: calibration = "{out.resolve()}" in the recipe.', err=True)


def _show(done: Calibrated) -> None:
    from odqa.cli import render

    fitted = done.calibration
    rows = [
        ("questions, to fit and to certify", f"{done.questions[0]:,} and {done.questions[1]:,}"),
        ("null threshold", f"{fitted.null_threshold:.2f}"),
        ("passages read for a question", f"{done.passages_read:.1f}"),
        ("calibration error against token F1, fitted", f"{done.error:.3f}"),
        ("area under risk-coverage, by probability", f"{done.area[0]:.3f}"),
        ("area under risk-coverage, by raw margin", f"{done.area[1]:.3f}"),
    ]
    render.table(["calibration", "value"], rows, numbers=["value"])
    promises = [(f"{kept.risk:g}", f"{kept.probability:.3f}") for kept in fitted.risks or ()]
    if promises:
        render.table(["risk kept", "from probability"], promises, numbers=["risk kept", "from probability"])
    else:
        click.echo("No risk could be certified: give more articles.", err=True)
