"""The plots of a report, as SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odqa.evaluation.curves import Reliability, RiskCoverage, precision_recall
from odqa.evaluation.outcomes import Outcome
from odqa.evaluation.thresholds import OperatingPoint

INK, GRID, FIRST, SECOND, THIRD = "#111111", "#cccccc", "#1f6feb", "#d9480f", "#2b8a3e"
PAGE_COLOURS = {INK: "--ink", GRID: "--line", FIRST: "--first", SECOND: "--second", THIRD: "--third"}
"""The page's CSS variable for each colour; a viewer without them shows the colour itself."""

_STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "odqa",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as an `svg` element, with its title and what a reader should know about it."""

    title: str
    caption: str
    svg: str


def svg(draw: Callable[[Axes], None], *, width: float = 5.2, height: float = 3.4) -> str:
    """Draw on new axes, `width` by `height` inches; the same drawing gives the same text."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return _themed(file.getvalue())


def _themed(text: str) -> str:
    """Leave the file's header and repeated ids away, and name the page's colours."""
    element = re.sub(r'<g id="[\w.]+"', "<g", text[text.index("<svg") :])
    for colour, variable in PAGE_COLOURS.items():
        element = element.replace(colour, f"var({variable}, {colour})")
    return element.strip()


def precision_recall_plot(outcomes: Sequence[Outcome], scores: Mapping[str, float]) -> Plot:
    """Precision over recall as more questions are answered, by exact match, by F1, and for a perfect span."""
    return Plot(
        "Precision and recall",
        "Questions are answered one after the other, the surest first. “Answerable” counts any answer to an "
        "answerable question as right: it shows the abstention alone. AP is the official average precision.",
        svg(lambda axes: _precision_recall(axes, outcomes, scores)),
    )


def _precision_recall(axes: Axes, outcomes: Sequence[Outcome], scores: Mapping[str, float]) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    has_answer = [float(not outcome.question.is_impossible) for outcome in outcomes]
    if not any(has_answer):
        axes.text(0.5, 0.5, "no answerable question", ha="center")
        return
    na_probs = [outcome.na_prob for outcome in outcomes]
    lines = (
        ("answerable", "pr_oracle_ap", THIRD, has_answer),
        ("F1", "pr_f1_ap", FIRST, [has * one.f1 for has, one in zip(has_answer, outcomes, strict=True)]),
        (
            "exact match",
            "pr_exact_ap",
            SECOND,
            [has * one.exact for has, one in zip(has_answer, outcomes, strict=True)],
        ),
    )
    for name, key, colour, gains in lines:
        recall, precision = precision_recall(na_probs, gains, int(sum(has_answer)))
        axes.step(recall, precision, where="pre", color=colour, label=f"{name}, AP {scores[key]:.1f}")
    axes.legend(loc="lower left")


def margin_plot(outcomes: Sequence[Outcome], points: Mapping[str, OperatingPoint], *, label: str = "margin") -> Plot:
    """Histograms of the margin, or of what else stands against the thresholds, and the thresholds."""
    return Plot(
        label.capitalize().removesuffix("s") + "s",
        f"The {label} of the best span over “no answer”: what stands right of a threshold is answered. "
        "The less the two kinds overlap, the better it is known what can't be answered.",
        svg(lambda axes: _margins(axes, outcomes, points, label)),
    )


def _margins(axes: Axes, outcomes: Sequence[Outcome], points: Mapping[str, OperatingPoint], label: str) -> None:
    axes.set(xlabel=label, ylabel="questions")
    margins = [outcome.margin for outcome in outcomes if math.isfinite(outcome.margin)]
    edges = np.histogram_bin_edges(margins or [0.0], bins=48)
    for name, impossible, colour in (("unanswerable", True, SECOND), ("answerable", False, FIRST)):
        group = [one.margin for one in outcomes if one.question.is_impossible is impossible]
        axes.hist(
            [margin for margin in group if math.isfinite(margin)], edges.tolist(), color=colour, alpha=0.55, label=name
        )
    for name, style in (("zero", "dotted"), ("tuned", "solid"), ("oracle", "dashed")):
        if math.isfinite(threshold := points[name].threshold):
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=style, label=f"{name} {threshold:.2f}")
    axes.legend()


def risk_coverage_plot(curves: Mapping[str, RiskCoverage]) -> Plot:
    """How often answers are wrong as more and more questions are answered, one curve a ranking."""
    return Plot(
        "Risk and coverage",
        "Questions are answered one after the other, the surest first. Risk is the share of wrong answers among those "
        "given; an answer to an unanswerable question is wrong. AURC is the area under a curve: lower is better.",
        svg(lambda axes: _risk_coverage(axes, curves)),
    )


def _risk_coverage(axes: Axes, curves: Mapping[str, RiskCoverage]) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="coverage", ylabel="risk")
    for (name, curve), colour, style in zip(curves.items(), (FIRST, SECOND), ("solid", "dashed"), strict=True):
        label = f"by {name}, AURC {curve.area:.3f}"
        axes.plot(curve.coverage, curve.risk, color=colour, linestyle=style, label=label)
    axes.legend(loc="upper left")


def reliability_plot(found: Reliability) -> Plot:
    """How often spans of a probability are exactly right."""
    return Plot(
        "Reliability",
        "The probability of the best span against how often that span is exactly right. Bars on the "
        "diagonal can be taken at their word; bars under it promise too much, or stand low because questions with a "
        "single gold answer count another good one as wrong. ECE is the expected calibration error.",
        svg(lambda axes: _reliability(axes, found)),
    )


def _reliability(axes: Axes, found: Reliability) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability", ylabel="exactly right")
    axes.bar(
        [one.low for one in found.bins],
        [one.right for one in found.bins],
        width=[one.high - one.low for one in found.bins],
        align="edge",
        color=FIRST,
        alpha=0.55,
    )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="dashed")
    axes.plot(
        [one.probability for one in found.bins],
        [one.right for one in found.bins],
        "o",
        color=SECOND,
        markersize=4,
        label=f"ECE {found.expected_calibration_error:.3f}",
    )
    axes.legend(loc="upper left")


def met_plot(curves: Mapping[str, Sequence[float]]) -> Plot:
    """How many answerable questions are met as more is looked at, one curve a side."""
    return Plot(
        "Met within the first k",
        "Share of the answerable questions whose document is among the first k; where it is not known, of those for "
        "which a passage among the first k holds an answer string.",
        svg(lambda axes: _met(axes, curves), width=7.2),
    )


def _met(axes: Axes, curves: Mapping[str, Sequence[float]]) -> None:
    axes.set(xscale="log", xlabel="k", ylabel="share met")
    ticks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= max(map(len, curves.values()))]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    for name, colour in zip(reversed(list(curves)), (FIRST, SECOND, THIRD), strict=False):
        axes.plot(range(1, len(curves[name]) + 1), curves[name], color=colour, label=name)
    axes.legend(loc="lower right")
