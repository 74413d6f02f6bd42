"""Puts a document's text together from blocks and keeps where its headings and pages begin."""

from __future__ import annotations

from enum import IntEnum

from odqa.types import Document, Section


class Gap(IntEnum):
    """What stands between two pieces of text, by rising strength; a block in a table's cell is no new block."""

    NONE = 0
    SPACE = 1
    LINE = 2
    BLOCK = 3
    ROW = 4
    CELL = 5


_BETWEEN = {Gap.NONE: "", Gap.SPACE: " ", Gap.LINE: "\n", Gap.BLOCK: "\n\n", Gap.ROW: "\n", Gap.CELL: " | "}


class Composer:
    """A text under construction. Of the gaps asked for between two writes, the strongest stands."""

    def __init__(self) -> None:
        self.title = ""
        self._parts: list[str] = []
        self._length = 0
        self._gap = Gap.NONE
        self._sections: list[Section] = []
        self._outline: list[tuple[int, str]] = []
        self._heading_part = 0
        self._row_part = 0

    def gap(self, gap: Gap) -> None:
        """Keep what comes next at least `gap` apart."""
        self._gap = max(self._gap, gap)

    def begin_row(self) -> None:
        """Begin a table's row."""
        self._gap = self._gap if self._gap is Gap.BLOCK else Gap.ROW
        self._row_part = len(self._parts)

    def end_cell(self) -> None:
        """End a cell; empty ones at the beginning of a row leave no trace."""
        if len(self._parts) > self._row_part:
            self.gap(Gap.CELL)

    def end_row(self) -> None:
        """End a row, also when its last cells were empty."""
        self._gap = Gap.LINE

    def write(self, text: str) -> None:
        """Add text as it stands, after the gap that is due."""
        if not text:
            return
        gap = _BETWEEN[self._gap] if self._parts else ""
        self._gap = Gap.NONE
        self._parts += gap, text
        self._length += len(gap) + len(text)

    def words(self, text: str) -> None:
        """Add text with each run of white space as one space, as a browser shows it."""
        words = text.translate(_BLANKS).split(" ")
        if not words[0]:
            self.gap(Gap.SPACE)
        self.write(" ".join(filter(None, words)))
        if not words[-1]:
            self.gap(Gap.SPACE)

    def block(self, text: str) -> None:
        """Add a block of its own."""
        self.gap(Gap.BLOCK)
        self.write(text)
        self.gap(Gap.BLOCK)

    def page(self, text: str, number: int) -> None:
        """Add a page, counted from 1; an empty one leaves no trace."""
        self.block(text)
        if text:
            self._sections.append(Section(self._length - len(text), page=number))

    def begin_heading(self) -> None:
        """What is written from here on is a heading."""
        self.gap(Gap.BLOCK)
        self._heading_part = len(self._parts)

    def end_heading(self, level: int) -> None:
        """End the heading; `level` 1 is the highest, and the first of it becomes the title."""
        self.gap(Gap.BLOCK)
        written = "".join(self._parts[self._heading_part + 1 :])
        heading = " ".join(written.split())
        if not heading:
            return
        self._outline = [*(outer for outer in self._outline if outer[0] < level), (level, heading)]
        path = " > ".join(text for _, text in self._outline)
        self._sections.append(Section(self._length - len(written), heading=path))
        if level == 1 and not self.title:
            self.title = heading

    def document(self, name: str) -> Document:
        """The document, under its file's name (relative, posix)."""
        title = " ".join(self.title.split()) or stem(name)
        return Document(name, "".join(self._parts), title, {"path": name}, tuple(self._sections))


_BLANKS = str.maketrans(dict.fromkeys("\t\n\r\f", " "))


def stem(name: str) -> str:
    """A file's name without folders and last suffix."""
    base = name.rpartition("/")[2]
    return base.rpartition(".")[0] or base
