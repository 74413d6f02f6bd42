"""`odqa ask`: questions to an index."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from odqa.cli import options
from odqa.errors import DataError, OdqaError, QuestionError
from odqa.text import counted

if TYPE_CHECKING:
    from odqa.pipeline import Pipeline
    from odqa.types import Result

_ASK = "? "
_BUSY = 429
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """A question from a file, with the line it stands on."""

    question: str
    where: str
    id: str | None = None


@click.command()
@click.argument("question", required=False)
@click.option("--index", metavar="NAME", help="Ask this index instead of the recipe's.")
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="N", help="Passages to read; without it as the recipe says."
)
@click.option("--where", metavar="FILTER", help="Ask only documents that meet this filter, such as 'year >= 1990'.")
@options.answering
@click.option("--timings", is_flag=True, help="Show what each stage took.")
@click.option("--server", metavar="URL", help="Ask a service (odqa serve); its key comes from $ODQA_API_KEY.")
@click.option(
    "--file", "file", type=click.File(encoding="utf-8"), help='Ask each line of a JSONL file ("question", "id").'
)
def ask(
    question: str | None,
    index: str | None,
    pipeline: str,
    file: TextIO | None,
    as_json: bool,
    timings: bool,
    server: str | None,
    **choices: Any,
) -> None:
    """Ask an index a QUESTION.

    Without one, ask at a prompt, or read questions from a pipe, one a line.
    """
    if question is not None and file is not None:
        raise click.UsageError("Give a question or --file, not both.")
    if server is not None:
        if index is not None or options.is_given("pipeline"):
            raise click.UsageError("The server has an index and a recipe of its own: leave --index and --pipeline out.")
        return _ask_server(server, question, file, as_json=as_json, timings=timings, **choices)
    from odqa.pipeline import Pipeline

    if question is not None:
        found = Pipeline.load(pipeline, index=index)
        options.note_risk(found.calibration, choices["max_risk"])
        result = found.answer(question, **choices)
        return _show(result, None, as_json=as_json, timings=timings, indent=2)
    if file is None and sys.stdin.isatty():
        found = Pipeline.load(pipeline, index=index)
        options.note_risk(found.calibration, choices["max_risk"])
        name, passages = found.retriever.index.name, len(found.retriever.index)
        click.echo(f"{name}: {counted(passages, 'passage')}. Ask; Ctrl-D ends.", err=True)
        return _prompt(partial(found.answer, **choices), as_json=as_json, timings=timings)
    asked = list(_lines(sys.stdin) if file is None else _jsonl(file))
    return _ask_all(Pipeline.load(pipeline, index=index), asked, as_json=as_json, timings=timings, **choices)


def _ask_all(pipeline: Pipeline, asked: list[Asked], *, as_json: bool, timings: bool, **choices: Any) -> None:
    from odqa import progress
    from odqa.cli import render

    options.note_risk(pipeline.calibration, choices["max_risk"])
    for one in asked:
        try:
            pipeline.reader.check_question(one.question)
        except QuestionError as error:
            raise QuestionError(f"{one.where}: {error}") from None
    results = pipeline.answer_many((one.question for one in asked), **choices)
    steps = progress.track(zip(asked, results, strict=True), "Answering", total=len(asked), unit="questions")
    for one, result in steps:
        if not as_json:
            render.question(one.question)
        _show(result, one.id, as_json=as_json, timings=timings)


def _ask_server(
    url: str, question: str | None, file: TextIO | None, *, as_json: bool, timings: bool, **choices: Any
) -> None:
    """Ask a service one question, or those of a file or a pipe one after the other."""
    from odqa.cli import render
    from odqa.client import Client

    with Client(url, key=os.environ.get("ODQA_API_KEY")) as client:
        if question is not None:
            return _show(client.ask(question, **choices), None, as_json=as_json, timings=timings, indent=2)
        if file is None and sys.stdin.isatty():
            click.echo(f"{url}. Ask; Ctrl-D ends.", err=True)
            return _prompt(partial(client.ask, **choices), as_json=as_json, timings=timings)
        for one in list(_lines(sys.stdin) if file is None else _jsonl(file)):
            result = _patiently(partial(client.ask, one.question, **choices), one.where)
            if not as_json:
                render.question(one.question)
            _show(result, one.id, as_json=as_json, timings=timings)
        return None


def _patiently(ask: Callable[[], Result], where: str) -> Result:
    """Ask a service, coming back when it says so while it is busy."""
    from odqa.client import RequestFailedError

    for _ in range(_TRIES):
        try:
            return ask()
        except RequestFailedError as error:
            if error.status != _BUSY or error.retry_after is None:
                raise OdqaError(f"{where}: {error}") from None
            time.sleep(error.retry_after)
    return ask()


def _show(result: Any, id: str | None, *, as_json: bool, timings: bool, indent: int | None = None) -> None:
    from odqa.cli import render

    if not as_json:
        return render.result(result, timings=timings)
    found = {**({} if id is None else {"id": id}), **result.to_dict()}
    return click.echo(json.dumps(found, ensure_ascii=False, indent=indent))


def _lines(stream: TextIO) -> Iterator[Asked]:
    try:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield Asked(line.strip(), f"line {number}")
    except UnicodeDecodeError as error:
        raise DataError(f"The questions are not UTF-8: {error}. Convert them, for example with iconv.") from None


def _jsonl(file: TextIO) -> Iterator[Asked]:
    try:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _asked(line, f"{file.name}, line {number}")
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name} is not UTF-8: {error}. Convert it, for example with iconv.") from None


def _asked(line: str, where: str) -> Asked:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}.") from None
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise DataError(f'{where}: expected an object with a text "question", found {line.strip()[:80]}')
    return Asked(row["question"], where, None if row.get("id") is None else str(row["id"]))


def _prompt(ask: Callable[[str], Result], *, as_json: bool, timings: bool) -> None:
    with _history():
        while True:
            try:
                question = _line()
            except EOFError:
                return click.echo("", err=True)
            if not question.strip():
                continue
            try:
                _show(ask(question), None, as_json=as_json, timings=timings)
            except OdqaError as error:
                click.echo(f"Error: {error}", err=True)


def _line() -> str:
    """A line from the terminal; its prompt doesn't go into the answers' file."""
    if sys.stdout.isatty():
        return input(_ASK)
    click.echo(_ASK, err=True, nl=False)
    return input()


@contextmanager
def _history() -> Iterator[None]:
    """Line editing with a history that lasts, where the platform has readline."""
    from odqa import config

    path = config.cache_folder() / "history"
    with suppress(ImportError, OSError):
        import readline

        readline.read_history_file(path)
    yield
    with suppress(ImportError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        readline.set_history_length(1000)
        readline.write_history_file(path)
