"""Progress bars for long work. The library is silent; a program (the CLI) switches the bars on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_enabled: ContextVar[bool] = ContextVar("odqa_progress", default=False)


@contextmanager
def bars(enabled: bool = True) -> Iterator[None]:
    """Show progress bars on stderr for the work done inside."""
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def enabled() -> bool:
    """Whether bars are shown at the moment."""
    return _enabled.get()


class Tick:
    """Advances one bar; does nothing where bars are off."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units are done."""


@contextmanager
def bar(description: str, *, total: int | None = None, unit: str = "") -> Iterator[Tick]:
    """One bar for a stretch of work whose steps the caller counts with `advance`."""
    if not _enabled.get():
        yield Tick()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # What is printed meanwhile goes above the bar, but only where it would meet it: never what goes into a file.
    together = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=together) as progress:
        task = progress.add_task(description, total=total)

        class Advance(Tick):
            def advance(self, amount: int = 1) -> None:
                progress.advance(task, amount)

        yield Advance()


def track(items: Iterable[T], description: str, *, total: int | None = None, unit: str = "") -> Iterator[T]:
    """Pass `items` on, one step of a bar each."""
    with bar(description, total=total, unit=unit) as tick:
        for item in items:
            yield item
            tick.advance()
