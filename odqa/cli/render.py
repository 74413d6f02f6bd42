"""What a person sees in the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from odqa.text import counted
from odqa.types import Answer, Evidence, PassageRead, Result

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_AROUND = 220
_NEAREST = 3
_PLAIN_WIDTH = 100
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@cache
def console() -> Console:
    """Stdout: in colour on a terminal, plain in a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def result(found: Result, *, timings: bool = False) -> None:
    """Print the answers of a question with their evidence, or "no answer" with the nearest passages."""
    for rank, answer in enumerate(found.answers):
        _print(_answer(answer, around=_AROUND if rank == 0 else _AROUND // 4))
    if found.no_answer:
        _print(_no_answer(found))
    if timings:
        parts = ", ".join(f"{stage} {seconds * 1000:,.0f} ms" for stage, seconds in found.timings.items())
        read = f"{found.passages_read} of {counted(len(found.passages), 'passage')} read" if found.passages else ""
        _print(_text(", ".join(part for part in (parts, read) if part), "dim"))


def question(asked: str) -> None:
    """Print a question above its answers."""
    _print(_text(clean(asked), "bold"))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `numbers` are aligned right."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        made.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(clean(str(cell)) for cell in row))
    _print(made)


def _print(renderable: RenderableType) -> None:
    """Print without the blanks that rich puts at the ends of lines."""
    with console().capture() as captured:
        console().print(renderable)
    sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines()))


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:,.1f} {units[0]}" if units[0] != "B" else f"{count} B"


def clean(text: str) -> str:
    """Text without control characters: a document can't steer the terminal or turn its writing round."""
    return _CONTROL.sub("", text)


def _answer(answer: Answer, *, around: int) -> RenderableType:
    from rich.console import Group

    head = _text(clean(answer.text), "bold green")
    head.append(f"   {_percent(answer.probability)}", style="cyan")
    others = len(answer.evidence) - 1
    if others:
        head.append(f"   also in {counted(others, 'other place')}", style="dim")
    return Group(head, _indent(_place(answer), _marked(answer, around)), "")


def _no_answer(found: Result) -> RenderableType:
    from rich.console import Group

    head = _text("No answer", "bold yellow")
    head.append(f"   {_percent(found.no_answer_probability)}", style="cyan")
    near = [_indent(_text(clean(read.title or read.document_id), "dim"), _opening(read)) for read in found.passages]
    return Group(head, *([_text("Nearest passages:", "dim"), *near[:_NEAREST]] if near else []), "")


def _place(item: Evidence) -> Text:
    parts = [item.title, item.document_id if item.document_id != item.title else ""]
    parts += [f"page {item.page}" if item.page else "", item.heading or "", f"characters {item.start}-{item.end}"]
    return _text(clean(" · ".join(part for part in parts if part)), "dim")


def _marked(item: Evidence, around: int) -> Text:
    before, answer, after = item.parts()
    marked = _text(("…" if len(before) > around else "") + _one_line(before[-around:]))
    marked.append(_one_line(answer) if console().is_terminal else f"«{_one_line(answer)}»", style="bold reverse")
    return marked.append(_one_line(after[:around]) + ("…" if len(after) > around else ""))


def _opening(passage: PassageRead) -> Text:
    return _text(_one_line(passage.text[:_AROUND]) + ("…" if len(passage.text) > _AROUND else ""))


def _one_line(text: str) -> str:
    return clean(re.sub(r"\s+", " ", text))


def _percent(probability: float) -> str:
    return f"{min(99, max(1, round(100 * probability)))} %"


def _text(content: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(content, style=style)


def _indent(*parts: Any) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding

    return Padding(Group(*parts), (0, 0, 0, 2), expand=False)
