"""A recipe's reader against the scores that the recipe expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odqa import recipes
from odqa.errors import ConfigError, DataError
from odqa.evaluation.dataset import Question, load
from odqa.evaluation.files import prepare
from odqa.evaluation.report import evaluate_to_folder
from odqa.pipeline import reader_recipe
from odqa.recipes import ExpectedScores


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score, in percent. It is `reached` where it falls short by no more than the tolerance."""

    key: str
    expected: float
    found: float
    difference: float
    tolerance: float
    reached: bool


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A reader held against its recipe; `source` says where the expected scores come from."""

    pipeline: str
    model: str
    source: str
    reached: bool
    comparisons: tuple[Comparison, ...]


def reproduce(
    name: str,
    data: str,
    out: Path,
    *,
    model: str | None = None,
    train: Callable[[], str] | None = None,
    command: str = "",
) -> Reproduction:
    """Evaluate a recipe's reader, write the report, and hold its scores against the expected ones.

    Args:
        name: Of the recipe, or its `.toml` file.
        data: The questions that the expected scores speak of, as `dataset.load` takes them.
        out: Folder for the report.
        model: Another reader to hold against the recipe.
        train: Makes that reader and says its folder; called once all else is checked.
        command: For the record.

    Raises:
        ConfigError: the recipe is wrong or expects no scores, or the folder can't take the report.
        DataError: the data can't be read, or lacks the kind of questions that an expected score is about.
        ModelError: the model can't be found or is no reader.
    """
    recipe = recipes.load_pipeline(name)
    expected = _expected(recipe.expected, name)
    prepare(out, "reader")
    _check(load(data), expected)
    model = model if train is None else train()
    reader = reader_recipe(recipe) if model is None else recipe.reader.model_copy(update={"model": model})
    report = evaluate_to_folder(reader, data, out, command=command)
    comparisons = compare(report.scores, expected)
    reached = all(one.reached for one in comparisons)
    return Reproduction(name, reader.model, expected.source, reached, comparisons)


def compare(scores: Mapping[str, float], expected: ExpectedScores) -> tuple[Comparison, ...]:
    """Hold each expected score against the one that was found."""
    return tuple(
        Comparison(
            key=key,
            expected=value,
            found=scores[key],
            difference=scores[key] - value,
            tolerance=expected.tolerance,
            reached=scores[key] >= value - expected.tolerance,
        )
        for key, value in _promised(expected).items()
    )


def _promised(expected: ExpectedScores) -> dict[str, float]:
    return expected.model_dump(exclude={"tolerance", "source"}, exclude_none=True)


def _expected(expected: ExpectedScores | None, name: str) -> ExpectedScores:
    if expected is None:
        raise ConfigError(
            f'The recipe "{name}" expects no scores, so there is nothing to hold a reader against. '
            "Give it a table [expected] with exact, f1 and source, or use: odqa eval reader"
        )
    return expected


def _check(questions: Sequence[Question], expected: ExpectedScores) -> None:
    kinds = {"HasAns": "answerable", "NoAns": "unanswerable"}
    found = {"NoAns" if question.is_impossible else "HasAns" for question in questions}
    for key in _promised(expected):
        prefix = key.partition("_")[0]
        if prefix in kinds and prefix not in found:
            raise DataError(f"The recipe expects {key}, but the data has no {kinds[prefix]} question: give its own.")
