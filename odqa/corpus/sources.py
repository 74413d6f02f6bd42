"""From a source's name to its documents: which format it has, and who reads that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from odqa.corpus import docx, html, hub, markdown, pdf, squad, tables, text
from odqa.corpus.streams import one_line
from odqa.errors import ConfigError, CorpusError
from odqa.types import Document


class Format(StrEnum):
    """What a source of documents can be."""

    SQUAD = "squad"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"
    FOLDER = "folder"
    DATASETS = "datasets"


SUFFIXES: Mapping[str, Format] = {
    ".json": Format.SQUAD,
    ".json.gz": Format.SQUAD,
    ".jsonl": Format.JSONL,
    ".jsonl.gz": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".ndjson.gz": Format.JSONL,
    ".csv": Format.CSV,
    ".csv.gz": Format.CSV,
    ".tsv": Format.TSV,
    ".tsv.gz": Format.TSV,
    ".parquet": Format.PARQUET,
    ".txt": Format.TEXT,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".pdf": Format.PDF,
    ".docx": Format.DOCX,
}
"""Formats by the end of a file's name, in lower case."""

_ROWS: Mapping[Format, Callable[[Path], Iterator[tables.Row]]] = {
    Format.JSONL: tables.jsonl_rows,
    Format.CSV: tables.csv_rows,
    Format.TSV: lambda path: tables.csv_rows(path, delimiter="\t"),
    Format.PARQUET: tables.parquet_rows,
}
_SINGLE: Mapping[Format, Callable[[Path, str], Document]] = {
    Format.TEXT: text.read,
    Format.MARKDOWN: markdown.read,
    Format.HTML: html.read,
    Format.PDF: pdf.read,
    Format.DOCX: docx.read,
}


def read_documents(
    source: str | Path, *, format: str = "", columns: Mapping[str, str] | None = None
) -> Iterator[Document]:
    """Stream the documents of a file, a folder or a data set; memory is bounded by the largest document.

    A row without an id is called after its file or data set and its number, `faq.csv#0`.
    A document may have an empty text (a row with null, a PDF without a text layer), and ids may come twice:
    both are the caller's to handle. Offsets in `sections` count code points of the text.

    Args:
        source: a path, or with `format="datasets"` also `NAME[:CONFIG][@SPLIT]`.
        format: one of `Format`; found from the name where empty.
        columns: for rows, column names by role (`id`, `text`, `title`). Other scalar columns become metadata.

    Raises:
        ConfigError: no such format, or `columns` can't be used.
        CorpusError: the source isn't there or can't be read (also while reading on).
    """
    columns = columns or {}
    tables.check_roles(columns)
    path = Path(source)
    kind = _named_format(format) if format else _format_at(path, str(source))
    if kind is Format.DATASETS:
        return tables.documents(hub.rows(str(source)), columns, id_prefix=f"{path.name}#")
    _check_exists(path, str(source))
    if columns and kind is not Format.FOLDER and kind not in _ROWS:
        raise ConfigError(f"columns name the columns of rows; {source} is read as {kind}.")
    if path.is_dir() != (kind is Format.FOLDER):
        raise CorpusError(f"{source} is {'a folder' if path.is_dir() else 'a file'}; it can't be read as {kind}.")
    return _folder(path, columns) if kind is Format.FOLDER else _file(path, path.name, kind, columns)


def _format_at(path: Path, source: str) -> Format:
    _check_exists(path, source)
    if path.is_dir():
        return Format.DATASETS if hub.is_saved(path) else Format.FOLDER
    found = _format_of(path)
    if found is None:
        raise CorpusError(f"{path}: its suffix doesn't tell its format; say it with format= ({', '.join(Format)}).")
    return found


def _check_exists(path: Path, source: str) -> None:
    if not source or not path.exists():
        raise CorpusError(
            f'No file or folder "{source}". For a data set of the hub, say --format datasets '
            '(from Python, format="datasets").'
        )


def _named_format(format: str) -> Format:
    try:
        return Format(format)
    except ValueError:
        raise ConfigError(f'Unknown format "{format}"; the formats are {", ".join(Format)}.') from None


def _format_of(path: Path) -> Format | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return SUFFIXES.get("".join(suffixes[-2:])) or SUFFIXES.get("".join(suffixes[-1:]))


def _file(path: Path, name: str, kind: Format, columns: Mapping[str, str]) -> Iterator[Document]:
    if kind is Format.SQUAD:
        return squad.read(path)
    if kind in _ROWS:
        return tables.documents(_ROWS[kind](path), columns, id_prefix=f"{name}#")
    return _one(_SINGLE[kind], path, name)


def _one(read: Callable[[Path, str], Document], path: Path, name: str) -> Iterator[Document]:
    yield read(path, name)


def _folder(root: Path, columns: Mapping[str, str]) -> Iterator[Document]:
    empty = True
    for path in _files(root, root.resolve()):
        kind = _format_of(path)
        if kind is not None:
            empty = False
            name = _readable(path.relative_to(root))
            yield from _file(path, name, kind, columns)
    if empty:
        raise CorpusError(
            f"{root} holds no file that can be read; known suffixes: {', '.join(SUFFIXES)}. "
            "Hidden files and links out of the folder are left out."
        )


def _files(folder: Path, root: Path) -> Iterator[Path]:
    """The files under `folder`, sorted; hidden ones, linked folders and links out of `root` are left out."""
    for path in _entries(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, root)
        elif path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"Can't read {folder}: {one_line(error)}.") from error


def _readable(path: Path) -> str:
    """The path in posix form; bytes of a file name that are no UTF-8 become question marks."""
    return path.as_posix().encode("utf-8", "replace").decode()
