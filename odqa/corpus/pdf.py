"""PDF files: the text layer, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from odqa.corpus.compose import Composer
from odqa.corpus.streams import one_line
from odqa.errors import CorpusError
from odqa.types import Document

_HYPHENATED = re.compile("\ufffe(?=[^\\W\\d_A-Z])")


def read(path: Path, name: str) -> Document:
    """A PDF file as one document with a section for each page; a scan without a text layer has text "".

    Raises:
        CorpusError: the file is encrypted or not a readable PDF.
    """
    import pypdfium2

    composer = Composer()
    try:
        with pypdfium2.PdfDocument(path) as pdf:
            composer.title = _title(pdf)
            for number, text in enumerate(_pages(pdf), start=1):
                composer.page(text, number)
    except (OSError, ValueError, pypdfium2.PdfiumError) as error:
        raise _unreadable(path, error) from error
    return composer.document(name)


def _title(pdf: Any) -> str:
    title = str(pdf.get_metadata_dict().get("Title") or "")
    return "" if title.lower() == "untitled" else title


def _pages(pdf: Any) -> Iterator[str]:
    for page in pdf:
        textpage = page.get_textpage()
        yield _readable(textpage.get_text_range())
        textpage.close()
        page.close()


def _readable(text: str) -> str:
    """A page's text with plain line ends; PDFium marks a hyphen at a line's end with U+FFFE."""
    text = _HYPHENATED.sub("", text).replace("\ufffe", "-")
    return text.replace("\r\n", "\n").strip()


def _unreadable(path: Path, error: Exception) -> CorpusError:
    if "password" in str(error).lower():
        return CorpusError(f"{path} is encrypted. Save a copy without a password and read that.")
    return CorpusError(f"{path} is not a readable PDF: {one_line(error)}.")
