"""Rows of JSON Lines, CSV, TSV and Parquet files, and how their columns become documents."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, cast

from odqa.corpus.streams import lines, one_line
from odqa.errors import ConfigError, CorpusError
from odqa.text import broken_at
from odqa.types import Document, Scalar

ROLES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "text": ("text", "context", "contents", "passage", "body"),
    "title": ("title",),
}
"""The columns that each role is looked for in, in this order, where none is named."""

_LONGEST_FIELD = 2**31 - 1
_PARQUET_ROWS = 1024


class Row(NamedTuple):
    """A row and its place as an error names it: `FILE, line 7`."""

    place: str
    values: Mapping[str, Any]


def documents(rows: Iterable[Row], columns: Mapping[str, str], *, id_prefix: str = "") -> Iterator[Document]:
    """A document for each row.

    Args:
        rows: the rows.
        columns: column names by role: id, text, title.
        id_prefix: put before the row's number, which stands for a missing id.

    Raises:
        ConfigError: `columns` has an unknown role.
        CorpusError: a named column or any text column is missing, or a role's value is no text.
    """
    check_roles(columns)
    for number, row in enumerate(rows):
        used = {role: _column(row, role, columns) for role in ROLES}
        yield Document(
            id=_value(row, used["id"]) or f"{id_prefix}{number}",
            text=_value(row, used["text"]),
            title=_value(row, used["title"]),
            metadata=_metadata(row, set(used.values())),
        )


def check_roles(columns: Mapping[str, str]) -> None:
    """Refuse roles that documents don't have.

    Raises:
        ConfigError: naming the role.
    """
    for role in columns:
        if role not in ROLES:
            raise ConfigError(f'columns: unknown role "{role}"; the roles are {", ".join(ROLES)}.')


def jsonl_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON Lines file; empty lines are passed over."""
    for number, line in enumerate(lines(path), start=1):
        if not line.isspace():
            place = f"{path}, line {number}"
            yield Row(place, _object(line, place))


def csv_rows(path: Path, *, delimiter: str = ",") -> Iterator[Row]:
    """The rows under the header of a CSV file; values stay text."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(lines(path), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise CorpusError(f"{path} is empty: expected a header row with the names of the columns.")
        _check_header(header, path)
        for fields in filter(None, reader):
            yield Row(f"{path}, line {reader.line_num}", _fields(header, fields, path, reader.line_num))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: not CSV: {one_line(error)}.") from error


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, without nested columns, one record batch in memory at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            rows = _batch_rows(file.iter_batches(_PARQUET_ROWS, columns=flat))
            for number, values in enumerate(rows):
                yield Row(f"{path}, row {number}", values)
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path} is not a readable Parquet file: {one_line(error)}.") from error


def _batch_rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{place}: not JSON: {error.msg} at column {error.colno}.") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place}: not JSON: {one_line(error)}.") from None
    if not isinstance(value, dict):
        raise CorpusError(f"{place}: expected a JSON object, found {type(value).__name__}.")
    return value


def _check_header(header: list[str], path: Path) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise CorpusError(f'{path}: column "{twice[0]}" stands in the header more than once.')


def _fields(header: list[str], fields: list[str], path: Path, line: int) -> dict[str, str]:
    if len(fields) != len(header):
        raise CorpusError(f"{path}, line {line}: {len(fields)} fields where the header has {len(header)}.")
    return dict(zip(header, fields, strict=True))


def _column(row: Row, role: str, columns: Mapping[str, str]) -> str:
    """The name of the column for `role`, empty where an optional one is missing."""
    candidates = (columns[role],) if role in columns else ROLES[role]
    found = next((name for name in candidates if name in row.values), "")
    if not found and (role in columns or role == "text"):
        present = ", ".join(map(str, row.values)) or "none"
        wanted = " or ".join(f'"{name}"' for name in candidates)
        raise CorpusError(f"{row.place}: no column {wanted} for the {role}; columns here: {present}.")
    return found


def _value(row: Row, column: str) -> str:
    value = row.values[column] if column else None
    if not _is_scalar(value):
        raise CorpusError(f'{row.place}: column "{column}" holds a {type(value).__name__}, expected text.')
    scalar = _scalar(value, row.place)
    return "" if scalar is None else str(scalar)


def _metadata(row: Row, used: set[str]) -> dict[str, Scalar]:
    return {
        name: _scalar(value, row.place) for name, value in row.values.items() if name not in used and _is_scalar(value)
    }


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | Decimal | date | time)


def _scalar(value: Any, place: str) -> Scalar:
    """A value as metadata holds it: dates in ISO form, no NaN and no infinity."""
    if isinstance(value, str):
        _check_surrogates(value, place)
    elif isinstance(value, date | time):
        return value.isoformat()
    elif isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    return cast(Scalar, value)


def _check_surrogates(text: str, place: str) -> None:
    if (at := broken_at(text)) is not None:
        raise CorpusError(
            f"{place}: half a surrogate pair (\\u{ord(text[at]):04x}) stands for no character; remove it."
        )
