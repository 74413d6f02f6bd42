"""`odqa index`: build, change, list, inspect, verify, export, rename and delete indexes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odqa.cli import options
from odqa.text import counted

if TYPE_CHECKING:
    from odqa.index import ChangeReport
    from odqa.recipes import Card


_format = click.option(
    "--format",
    "format",
    metavar="FORMAT",
    help="Form of the source, where its name doesn't tell (squad, jsonl, csv, ...).",
)
_column = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Column that holds the id, text or title, such as text=body; may be given several times.",
)


@click.group()
def index() -> None:
    """Build and look after indexes."""


@index.command()
@click.argument("name")
@click.argument("source", required=False)
@click.option("--card", metavar="CARD", help="Index card: a name or a .toml file; NAME's own where it has one.")
@_format
@_column
@click.option(
    "--embedder", metavar="MODEL", help="Embedder: a bundled name, a folder or a hub name; without it the card's."
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tokens of a passage at most; without it the card's number.",
)
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    metavar="N",
    help="Tokens that neighbouring passages share; without it the card's number.",
)
@click.option("--stemmer", metavar="LANGUAGE", help='Language of the stemmer, or "" for none.')
@click.option("--stop-words", metavar="LANGUAGE", help='Language of the stop words, or "" for none.')
@click.option("--replace", is_flag=True, help="Replace the index of that name, which stays in use until the end.")
def build(
    name: str, source: str | None, card: str | None, columns: tuple[str, ...], replace: bool, **given: Any
) -> None:
    """Build the index NAME from SOURCE.

    SOURCE is a file or a folder of SQuAD JSON, JSONL, CSV, TSV, Parquet, text, Markdown, HTML, PDF or DOCX, or a
    saved data set. Without it, the built-in card NAME says where the documents are. A build that was killed goes on
    after its last finished segment when the same command is run again.
    """
    from odqa import config
    from odqa.cli import render
    from odqa.corpus import read_documents
    from odqa.index import Index

    chosen = _card(name, card, {**given, "source": source, "columns": _columns(columns)})
    if not chosen.source:
        raise click.UsageError(f'No SOURCE, and no built-in card "{name}" that names one.')
    documents = read_documents(config.source_path(chosen.source), format=chosen.format, columns=chosen.columns)
    report = Index.build(name, documents, card=chosen, replace=replace)
    resumed = f" ({counted(report.resumed, 'segment')} finished before)" if report.resumed else ""
    click.echo(
        f"Built {report.name}: {counted(report.documents, 'document')}{_skipped(report.skipped)}, "
        f"{counted(report.passages, 'passage')}, {render.size(report.size)}{resumed}."
    )


def _skipped(count: int) -> str:
    return f" ({count:,} without text skipped)" if count else ""


@index.command()
@click.argument("name")
@click.argument("source")
@_format
@_column
def add(name: str, source: str, format: str | None, columns: tuple[str, ...]) -> None:
    """Add the documents of SOURCE to the index NAME.

    A document whose id is there already replaces the one that was; where it holds no text any more, that one is
    removed. A text that is there already isn't embedded again.
    """
    from odqa.corpus import read_documents
    from odqa.index import Index

    report = Index.add(name, read_documents(source, format=format or "", columns=_columns(columns)))
    replaced = f", {report.replaced:,} of them in place of an older one" if report.replaced else ""
    emptied = f" Removed {counted(report.removed, 'document')} whose text is gone." if report.removed else ""
    click.echo(
        f"Added {counted(report.added, 'document')}{_skipped(report.skipped)}{replaced}.{emptied} {_state(report)}"
    )


@index.command()
@click.argument("name")
@click.option("--ids", "--id", "ids", multiple=True, metavar="ID", help="A document's id; may be given several times.")
@click.option("--where", metavar="FILTER", help="Documents that meet this filter, such as 'year >= 1990'.")
def remove(name: str, ids: tuple[str, ...], where: str | None) -> None:
    """Remove documents from the index NAME, by id or by a filter."""
    from odqa.index import Index

    if not ids and where is None:
        raise click.UsageError("Say which documents to remove: --ids ID or --where FILTER.")
    report = Index.remove(name, ids=ids, where=where)
    unknown = f" ({counted(report.unknown, 'id')} not in the index)" if report.unknown else ""
    click.echo(f"Removed {counted(report.removed, 'document')}{unknown}. {_state(report)}")


@index.command()
@click.argument("name")
def compact(name: str) -> None:
    """Free the space of removed documents in the index NAME.

    Small segments are merged as well.
    """
    from odqa.index import Index

    click.echo(_state(Index.compact(name)))


def _state(report: ChangeReport) -> str:
    from odqa.cli import render

    return (
        f"{report.name} holds {counted(report.documents, 'document')}, {counted(report.passages, 'passage')} in "
        f"{counted(report.segments, 'segment')}, {render.size(report.size)}."
    )


@index.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
def export(name: str, folder: Path) -> None:
    """Write all of the index NAME to FOLDER as Parquet.

    FOLDER, new or empty, gets documents.parquet and passages.parquet; the vectors stand beside the passages.
    """
    from odqa.index import Index

    opened = Index.open(name)
    opened.export(folder)
    held = counted(len(opened), "passage")
    click.echo(f"Wrote {folder / 'documents.parquet'} and {folder / 'passages.parquet'} ({held}).")


def _card(name: str, card: str | None, given: dict[str, Any]) -> Card:
    from odqa import recipes

    own = name in recipes.names("indexes")
    base = recipes.load_card(card or name) if card or own else recipes.Card()
    body = base.model_dump(mode="json")
    tables = {"max_tokens": "passages", "overlap": "passages", "stemmer": "terms", "stop_words": "terms"}
    for key, value in given.items():
        if value not in (None, {}):
            (body[tables[key]] if key in tables else body)[key] = value
    return recipes.Card.model_validate(body)


def _columns(pairs: tuple[str, ...]) -> dict[str, str]:
    columns = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(columns) != len(pairs) or not columns.keys() <= {"id", "text", "title"}:
        raise click.UsageError("--column takes id=NAME, text=NAME or title=NAME, each once.")
    return columns


@index.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the indexes that are built, and the cards that could be."""
    from odqa import config, recipes
    from odqa.cli import render
    from odqa.index import store

    found = list(store.listed())
    if as_json:
        return click.echo(json.dumps([_summary(one) for one in found], ensure_ascii=False, indent=2))
    if not found:
        click.echo(f"No index in {config.indexes_folder()} yet.", err=True)
    else:
        rows = [_row(one) for one in found]
        render.table(
            ["name", "documents", "passages", "size", "built", "embedder"],
            rows,
            numbers=["documents", "passages", "size"],
        )
    cards = [card for card in recipes.names("indexes") if card not in {one.name for one in found}]
    if cards:
        click.echo(f"Cards to build from: {', '.join(cards)} (odqa index build NAME)", err=True)
    return None


def _summary(one: Any) -> dict[str, Any]:
    if one.generation is None:
        return {"name": one.name, "problem": one.problem}
    made = one.generation
    return {
        "name": one.name,
        "generation": made.number,
        "documents": made.documents,
        "passages": made.passages,
        "bytes": made.size,
        "created": made.created,
        "embedder": made.embedder.name,
    }


def _row(one: Any) -> list[str]:
    from odqa.cli import render

    if one.generation is None:
        return [one.name, "", "", "", "", one.problem]
    made = one.generation
    return [
        one.name,
        f"{made.documents:,}",
        f"{made.passages:,}",
        render.size(made.size),
        made.created,
        made.embedder.name,
    ]


@index.command()
@click.argument("name")
@options.as_json
def info(name: str, as_json: bool) -> None:
    """Show what the index NAME is made of."""
    from odqa.cli import render
    from odqa.index import store
    from odqa.index.generation import current

    folder = store.existing(name)
    made = current(folder)
    body = {"name": name, "folder": str(folder), **made.model_dump(mode="json", exclude={"segments"})}
    body |= {"documents": made.documents, "passages": made.passages, "bytes": made.size, "segments": len(made.segments)}
    if as_json:
        return click.echo(json.dumps(body, ensure_ascii=False, indent=2))
    return render.table(["key", "value"], _flat(body))


def _flat(body: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in body.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return [row for row in rows if row[1] not in ("", None)]


@index.command()
@click.argument("name")
def verify(name: str) -> None:
    """Check every byte of the index NAME against its checksums."""
    from odqa.errors import IndexDamagedError
    from odqa.index import store

    problems = store.verify(name)
    if problems:
        raise IndexDamagedError("\n       ".join(problems))
    click.echo(f"{name} is sound.")


@index.command()
@click.argument("name")
@click.argument("new_name")
def rename(name: str, new_name: str) -> None:
    """Give the index NAME the name NEW_NAME."""
    from odqa.index import store

    store.rename(name, new_name)
    click.echo(f"{name} is now {new_name}.")


@index.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
def delete(name: str, yes: bool) -> None:
    """Delete the index NAME."""
    from odqa.index import store

    store.existing(name)
    if not yes:
        click.confirm(f"Delete the index {name}?", abort=True, err=True)
    store.delete(name)
    click.echo(f"{name} is deleted.")
