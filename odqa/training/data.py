"""Questions for training, and the articles held out to choose and to tune with."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odqa.errors import DataError
from odqa.evaluation import dataset
from odqa.evaluation.dataset import Question
from odqa.models import file_sha256
from odqa.recipes import RetrieverTrainingRecipe, TrainingRecipe
from odqa.text import normalize_answer
from odqa.training.swaps import swapped

SELECT, CALIBRATE = "select", "calibrate"
HELD_OUT_SHARE = 0.05
"""Share of the articles that are held out for each of the two purposes where no splits file says which."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was trained with; `questions` counts all that it holds."""

    name: str
    sha256: str
    questions: int


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Questions to train with, and those of the articles that choose the checkpoint and tune the threshold.

    `apart` are those of articles that are held out for any other purpose.
    """

    train: tuple[Question, ...]
    select: tuple[Question, ...]
    calibrate: tuple[Question, ...]
    files: tuple[DataFile, ...]
    splits_sha256: str = ""
    apart: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A question with a passage; `span` in its characters is None where the passage holds no answer."""

    id: str
    question: str
    context: str
    span: tuple[int, int] | None
    weight: float = 1.0


def load(paths: Sequence[str | Path], *, splits: str | Path | None = None) -> TrainingData:
    """Read the files and hold articles out of training.

    Held-out articles are left out of every file; their questions are those of the first file that has them. Without
    a splits file, a share of the titles is drawn for each purpose, by a hash of the title alone: with more data, an
    article that was trained with isn't held out later. Rows without a title always train.

    Raises:
        DataError: a file is wrong, an id is repeated, or nothing is left to train, choose or tune with.
    """
    sources = [dataset.load(path, split="train") for path in paths]
    _check_ids(sources, paths)
    purposes = _drawn(sources) if splits is None else read_splits(Path(splits))
    held_out = {title for titles in purposes.values() for title in titles}
    data = TrainingData(
        tuple(question for source in sources for question in source if question.title not in held_out),
        _held(sources, purposes[SELECT]),
        _held(sources, purposes[CALIBRATE]),
        tuple(
            DataFile(Path(path).name, _sha256(path, source), len(source))
            for path, source in zip(paths, sources, strict=True)
        ),
        "" if splits is None else file_sha256(Path(splits)),
        _held(sources, [title for title in held_out if title not in {*purposes[SELECT], *purposes[CALIBRATE]}]),
    )
    for purpose, questions in (("train", data.train), (SELECT, data.select), (CALIBRATE, data.calibrate)):
        _check_answerable(purpose, questions)
    return data


def examples(questions: Sequence[Question], recipe: TrainingRecipe) -> list[Example]:
    """What the reader learns from, weighted, negatives and swapped questions last."""
    questions = thinned(questions, recipe)
    asked = [
        Example(question.id, question.question, question.context, _span(question), _weight(question, recipe))
        for question in questions
    ]
    made = [*asked, *_negatives(questions, recipe), *_swapped(questions, recipe)]
    return [example for example in made if example.weight > 0]


def thinned(questions: Sequence[Question], recipe: TrainingRecipe | RetrieverTrainingRecipe) -> Sequence[Question]:
    """Leave out all but a share of the questions about back-translated text."""
    if recipe.backtranslated_share == 1:
        return questions
    drawn = np.random.default_rng([recipe.seed, 2]).random(len(questions)) < recipe.backtranslated_share
    return [question for question, kept in zip(questions, drawn, strict=True) if kept or not _is_translated(question)]


def _weight(question: Question, recipe: TrainingRecipe) -> float:
    return recipe.backtranslated_weight if _is_translated(question) else 1.0


def _is_translated(question: Question) -> bool:
    return question.text_kind == "backtranslated"


def _span(question: Question) -> tuple[int, int] | None:
    """The first gold answer without white space at its ends, since no token stands for that."""
    if question.is_impossible:
        return None
    answer = question.answers[0]
    bare = answer.text.strip()
    start = answer.start + answer.text.find(bare)
    return start, start + len(bare)


def _negatives(questions: Sequence[Question], recipe: TrainingRecipe) -> Iterator[Example]:
    """Answerable questions paired with a passage of their article that holds none of their answers."""
    rng = np.random.default_rng([recipe.seed, 1])
    answerable = [question for question in questions if question.answers]
    drawn = rng.permutation(len(answerable))[: round(recipe.negative_share * len(answerable))]
    passages: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for question in questions if len(drawn) else ():
        passages[question.title].setdefault(question.context, f" {normalize_answer(question.context)} ")
    for question in (answerable[row] for row in drawn):
        others = [text for text, words in passages[question.title].items() if lacks_answer(words, question)]
        if others and question.title:
            context = others[rng.integers(len(others))]
            yield Example(f"{question.id}-negative", question.question, context, None, _weight(question, recipe))


def _swapped(questions: Sequence[Question], recipe: TrainingRecipe) -> Iterator[Example]:
    """Answerable questions that ask for something else, which their passage doesn't say."""
    rng = np.random.default_rng([recipe.seed, 3])
    answerable = [question for question in questions if question.answers]
    for row in rng.permutation(len(answerable))[: round(recipe.swapped_share * len(answerable))]:
        if text := swapped(answerable[row], rng):
            question = answerable[row]
            yield Example(f"{question.id}-swapped", text, question.context, None, _weight(question, recipe))


def lacks_answer(words: str, question: Question) -> bool:
    """Whether a passage, normalised and with a space at both ends, holds none of the question's answers."""
    return all(f" {normalize_answer(answer.text)} " not in words for answer in question.answers)


def _held(sources: Sequence[Sequence[Question]], titles: Sequence[str]) -> tuple[Question, ...]:
    missing, held = set(titles), []
    for source in sources:
        found = [question for question in source if question.title in missing]
        missing -= {question.title for question in found}
        held += found
    return tuple(held)


def _drawn(sources: Sequence[Sequence[Question]]) -> dict[str, list[str]]:
    titles = sorted({question.title for source in sources for question in source if question.title}, key=_place)
    if len(titles) < 3:
        raise DataError(
            f"The data names {len(titles)} articles by title: too few to train with one and hold two out. "
            "Give a splits file, or data with more titles."
        )
    first = max(1, sum(_place(title) < HELD_OUT_SHARE for title in titles))
    last = max(first + 1, sum(_place(title) < 2 * HELD_OUT_SHARE for title in titles))
    return {SELECT: titles[:first], CALIBRATE: titles[first:last]}


def _place(title: str) -> float:
    """Where a title stands in 0..1, whatever else there is."""
    return int.from_bytes(hashlib.sha256(title.encode()).digest()[:6]) / 2**48


def read_splits(path: Path) -> dict[str, list[str]]:
    """The titles of held-out articles by purpose.

    Raises:
        DataError: the file is no such thing, or names a title twice.
    """
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'Can\'t read splits from {path} ({error}): expected JSON as {{"splits": {{"{SELECT}": [titles], ...}}}}.'
        ) from None
    if not _is_splits(splits):
        raise DataError(f'{path}: "splits" must name lists of titles, "{SELECT}" and "{CALIBRATE}" among them.')
    titles = [title for held in splits.values() for title in held]
    if repeated := [title for title in titles if titles.count(title) > 1]:
        raise DataError(f'{path} names the article "{repeated[0]}" more than once: each serves one purpose.')
    return {purpose: list(held) for purpose, held in splits.items()}


def _is_splits(splits: object) -> bool:
    return (
        isinstance(splits, Mapping)
        and {SELECT, CALIBRATE} <= set(splits)
        and all(
            isinstance(titles, list) and all(isinstance(title, str) for title in titles) for titles in splits.values()
        )
    )


def _check_ids(sources: Sequence[Sequence[Question]], paths: Sequence[str | Path]) -> None:
    seen: dict[str, str | Path] = {}
    for source, path in zip(sources, paths, strict=True):
        for question in source:
            if question.id in seen:
                raise DataError(
                    f'The id "{question.id}" stands in {seen[question.id]} and in {path}: give each its own.'
                )
        seen |= dict.fromkeys((question.id for question in source), path)


def _check_answerable(purpose: str, questions: Sequence[Question]) -> None:
    if not any(question.answers for question in questions):
        raise DataError(
            f"None of the {len(questions)} questions to {purpose} with is answerable. "
            "Give data, or splits, in which some of them are."
        )


def _sha256(path: str | Path, questions: Sequence[Question]) -> str:
    """Of the file, or of all questions where `datasets` holds them."""
    if Path(path).is_file():
        return file_sha256(Path(path))
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question!r}\n".encode())
    return digest.hexdigest()
