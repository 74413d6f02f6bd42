"""Question data sets in SQuAD form, read and checked.

Source: Rajpurkar et al. 2018, "Know What You Don't Know: Unanswerable Questions for SQuAD".
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from odqa.errors import DataError
from odqa.text import broken_at

T = TypeVar("T")

_KINDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """An answer that a person marked: `context[start:end] == text`."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset in the context after the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one paragraph, `document_id`, of the article `title`.

    `context` and `document_id` are empty where a question of one's own does not say them; then its answers start at 0.
    `answers` is empty exactly where `is_impossible`; `plausible` are wrong answers that look right, where known.
    `text_kind` says how the paragraph came about, where the data set tells.
    """

    id: str
    question: str
    context: str
    title: str
    document_id: str
    answers: tuple[GoldAnswer, ...]
    is_impossible: bool = False
    plausible: tuple[GoldAnswer, ...] = ()
    text_kind: str = ""

    @property
    def article(self) -> str:
        """What its difficulty is shared with: its article, else its document, else nothing but itself."""
        return self.title or self.document_id or self.id


def load(
    source: str | Path, *, split: str = "validation", need_answerable: bool = False, need_context: bool = True
) -> list[Question]:
    """Read and check a data set.

    A paragraph's `document_id` is its article's title, a hyphen and its number in the article, from 0. Rows know no
    article: there the distinct contexts of a title are counted, in the order in which they appear.

    Args:
        source: A file in the official form (`.json`, v1.1 or v2.0), a file of rows as `datasets` has them (`.jsonl`),
            either of them gzipped (`.gz`), a folder saved by `datasets`, or a name there, like "squad_v2".
        split: The split to take; only `datasets` has them.
        need_answerable: Whether at least one question must have an answer, as training needs.
        need_context: Whether each question must come with its paragraph. Without, a row may be as bare as
            `{"question": "...", "answers": ["..."]}`, with or without `id`, `title` and `document_id`; no answer
            means that there is none.

    Raises:
        DataError: the source can't be read, or what it holds is wrong.
    """
    questions = list(_read(source, split, need_context))
    _check_ids(questions, source)
    if not questions:
        raise DataError(f'"{source}" holds no question: give a data set with at least one.')
    if need_answerable and all(question.is_impossible for question in questions):
        raise DataError(f'"{source}" holds no answerable question: give a data set with at least one.')
    return questions


def _read(source: str | Path, split: str, need_context: bool) -> Iterator[Question]:
    path = Path(source)
    form = Path(path.name.removesuffix(".gz")).suffix
    if form == ".json":
        return _from_articles(_parse(_text(path), f'"{path}"'), f'"{path}"')
    if form == ".jsonl":
        return _from_rows(_lines(path), need_context)
    if path.is_file():
        raise DataError(f'"{path}" has an unknown form: expected .json or .jsonl, or one of them with .gz.')
    return _from_rows(_saved(str(source), split), need_context)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f'"{path}" does not exist: give the path of a data set.') from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f'"{path}" can\'t be read ({error}): expected UTF-8 text, gzipped where it ends in .gz.'
        ) from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}). Files of one object a line end in .jsonl.") from error


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    # JSON lines end in "\n" alone: str.splitlines would also cut at U+2028 inside of a text.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            where = f'"{path}", line {number}'
            yield where, _parse(line, where)


def _saved(name: str, split: str) -> Iterator[tuple[str, Any]]:
    import datasets

    try:
        saved = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name, split=split)
        rows = saved[split] if isinstance(saved, datasets.DatasetDict) else saved
    except Exception as error:
        raise DataError(
            f'"{name}" is no file, and `datasets` can\'t load its split "{split}" ({error}): '
            f"give a path, or a name that is in its cache or can be reached."
        ) from error
    return ((f'"{name}", row {number}', row) for number, row in enumerate(rows))


@dataclass(frozen=True, slots=True)
class _Paragraph:
    title: str
    document_id: str
    context: str
    text_kind: str
    where: str


def _from_articles(data: Any, file: str) -> Iterator[Question]:
    numbers: defaultdict[str, count[int]] = defaultdict(count)
    for article in _field(data, "data", list, file):
        title = _field(article, "title", str, f"{file}, an article")
        for paragraph in _field(article, "paragraphs", list, f'{file}, article "{title}"'):
            name = f"{title}-{next(numbers[title])}"
            where = f'{file}, paragraph "{name}"'
            place = _paragraph(paragraph, title, name, where)
            yield from (_question(qa, place) for qa in _field(paragraph, "qas", list, where))


def _from_rows(rows: Iterable[tuple[str, Any]], need_context: bool) -> Iterator[Question]:
    seen: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for number, (where, row) in enumerate(rows, 1):
        if not need_context and isinstance(row, dict) and "context" not in row:
            yield _bare(row, number, where)
            continue
        title, context = _field(row, "title", str, where), _field(row, "context", str, where)
        place = seen[title].setdefault(context, len(seen[title]))
        answers = _paired(_field(row, "answers", dict, where), where)
        qa = {"is_impossible": not answers, **row, "answers": answers}
        name = _field(row, "document_id", str, where, default=f"{title}-{place}")
        yield _question(qa, _paragraph(row, title, name, where))


def _bare(row: Any, number: int, where: str) -> Question:
    """A question of one's own, whose passage is for the retriever to find."""
    answers = _texts(row, where)
    name = _field(row, "id", str, where, default=str(number))
    document_id = _field(row, "document_id", str, where, default="")
    question = Question(
        id=name,
        question=_field(row, "question", str, where),
        context="",
        title=_field(row, "title", str, where, default=document_id or name),
        document_id=document_id,
        answers=tuple(GoldAnswer(text, 0) for text in answers),
        is_impossible=_field(row, "is_impossible", bool, where, default=not answers),
    )
    _check_answerable(question, where)
    return question


def _texts(row: Any, where: str) -> list[str]:
    given = row.get("answers")
    texts = _field(given, "text", list, where) if isinstance(given, dict) else _field(row, "answers", list, where)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise DataError(f"{where} has {text!r:.60} as an answer: give texts, or [] where there is no answer.")
        _check_text(text, "answers", where)
    return texts


def _paragraph(record: Any, title: str, document_id: str, where: str) -> _Paragraph:
    text_kind = _field(record, "text_kind", str, where, default="")
    return _Paragraph(title, document_id, _field(record, "context", str, where), text_kind, where)


def _paired(answers: Any, where: str) -> list[dict[str, Any]]:
    texts, starts = _field(answers, "text", list, where), _field(answers, "answer_start", list, where)
    if len(texts) != len(starts):
        raise DataError(f"{where} has {len(texts)} answer texts but {len(starts)} starts: give each text its start.")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _question(qa: Any, place: _Paragraph) -> Question:
    name = _field(qa, "id", str, f"{place.where}, a question")
    where = f'{place.where}, question "{name}"'
    question = Question(
        id=name,
        question=_field(qa, "question", str, where),
        context=place.context,
        title=place.title,
        document_id=place.document_id,
        answers=_answers(qa, "answers", place.context, where),
        is_impossible=_field(qa, "is_impossible", bool, where, default=False),
        plausible=_answers({"plausible_answers": [], **qa}, "plausible_answers", place.context, where),
        text_kind=place.text_kind,
    )
    _check_answerable(question, where)
    return question


def _check_answerable(question: Question, where: str) -> None:
    if question.is_impossible and question.answers:
        raise DataError(
            f'{where} is marked as impossible but has the answer "{question.answers[0].text}": '
            f'take the answers out, or set "is_impossible" to false.'
        )
    if not question.is_impossible and not question.answers:
        raise DataError(f'{where} has no answer: add one, or set "is_impossible" to true.')


def _answers(qa: Any, name: str, context: str, where: str) -> tuple[GoldAnswer, ...]:
    return tuple(_answer(answer, context, where) for answer in _field(qa, name, list, where))


def _answer(answer: Any, context: str, where: str) -> GoldAnswer:
    text = _field(answer, "text", str, f"{where}, an answer")
    start = _field(answer, "answer_start", int, f'{where}, answer "{text}"')
    if not text:
        raise DataError(f"{where} has an empty answer: take it out.")
    if start < 0 or not context.startswith(text, start):
        found = context.find(text)
        way_out = "correct the text" if found < 0 else f'set "answer_start" to {found}'
        raise DataError(f'{where}: the answer "{text}" does not stand at {start} in its context: {way_out}.')
    return GoldAnswer(text, start)


def _field(record: Any, name: str, kind: type[T], where: str, default: T | None = None) -> T:
    if not isinstance(record, dict):
        raise DataError(f"{where} is {record!r:.60}: expected an object in SQuAD form.")
    if name not in record and default is not None:
        return default
    if name not in record:
        raise DataError(f'{where} has no "{name}": add it as {_KINDS[kind]}, as in SQuAD.')
    value = record[name]
    if not isinstance(value, kind):
        raise DataError(f'{where} has {value!r:.60} as "{name}": write it as {_KINDS[kind]}, as in SQuAD.')
    if isinstance(value, str):
        _check_text(value, name, where)
    return value


def _check_text(text: str, name: str, where: str) -> None:
    if (at := broken_at(text)) is not None:
        raise DataError(f'{where} has half of a surrogate pair (\\u{ord(text[at]):04x}) in its "{name}": remove it.')


def _check_ids(questions: list[Question], source: str | Path) -> None:
    repeated = [name for name, times in Counter(question.id for question in questions).items() if times > 1]
    if repeated:
        raise DataError(f'"{source}" repeats {len(repeated)} ids, "{repeated[0]}" first: give each question its own.')
