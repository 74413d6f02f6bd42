"""Word files (DOCX): paragraphs, headings and tables of the body."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from odqa.corpus.compose import Composer, Gap
from odqa.corpus.streams import one_line
from odqa.errors import CorpusError
from odqa.types import Document

if TYPE_CHECKING:
    from docx.table import Table
    from docx.text.paragraph import Paragraph


def read(path: Path, name: str) -> Document:
    """A Word file as one document; the title is the paragraph of style "Title", or the first "Heading 1".

    Headers, footers, footnotes and text boxes are left out.

    Raises:
        CorpusError: not a readable DOCX file.
    """
    try:
        return _compose(path).document(name)
    except Exception as error:  # a damaged package fails in zipfile, in lxml or anywhere in python-docx
        raise CorpusError(f"{path} is not a readable DOCX file: {one_line(error)}.") from error


def _compose(path: Path) -> Composer:
    import docx
    from docx.table import Table

    composer = Composer()
    with path.open("rb") as file:
        for block in docx.Document(file).iter_inner_content():
            if isinstance(block, Table):
                _write_table(block, composer)
            else:
                _write_paragraph(block, composer)
    return composer


def _write_paragraph(paragraph: Paragraph, composer: Composer) -> None:
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    level = style.removeprefix("Heading ")
    if level != style and level.isdecimal():
        composer.begin_heading()
        composer.write(paragraph.text.strip())
        composer.end_heading(int(level))
        return
    if style == "Title":
        composer.title = composer.title or paragraph.text
    gap = Gap.LINE if style.startswith("List") else Gap.BLOCK
    composer.gap(gap)
    composer.write(paragraph.text.strip())
    composer.gap(gap)


def _write_table(table: Table, composer: Composer) -> None:
    composer.gap(Gap.BLOCK)
    for row in table.rows:
        composer.begin_row()
        for cell in dict.fromkeys(row.cells):
            composer.write(cell.text.strip())
            composer.end_cell()
        composer.end_row()
    composer.gap(Gap.BLOCK)
