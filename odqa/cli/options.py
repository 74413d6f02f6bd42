"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from odqa.reader import Calibration

pipeline = click.option(
    "--pipeline", default="default", show_default=True, metavar="RECIPE", help="Recipe: a name or a .toml file."
)
n_best = click.option(
    "--n-best", type=click.IntRange(min=1), metavar="N", help="Answers to show at most; without it as the recipe says."
)
abstain = click.option(
    "--abstain",
    type=click.Choice(["threshold", "never"]),
    default="threshold",
    show_default=True,
    help="Drop answers under the null threshold, or always give the best span.",
)
max_risk = click.option(
    "--max-risk",
    type=click.FloatRange(0, 1),
    metavar="RISK",
    help="Answer only where the probability of being wrong is at most this; overrides --abstain.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def note_risk(calibration: Calibration | None, max_risk: float | None) -> None:
    """Say so where a risk is asked for that nothing can keep."""
    if calibration is None or max_risk is None or math.isfinite(calibration.least_probability(max_risk)):
        return
    known = ", ".join(f"{kept.risk:g}" for kept in calibration.risks or ()) or "none"
    click.echo(f"Note: a risk of {max_risk:g} can't be promised, so nothing is answered. Certified: {known}.", err=True)


def is_given(option: str) -> bool:
    """Whether an option of the running command was given, rather than left at its default."""
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def answering(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that answers."""
    for option in (as_json, max_risk, abstain, n_best, pipeline):
        command = option(command)
    return command
