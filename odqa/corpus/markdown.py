"""Markdown files: CommonMark with tables, read without the markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from odqa.corpus import html
from odqa.corpus.compose import Composer, Gap
from odqa.corpus.streams import lines
from odqa.types import Document

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"""^title:[ \t]*(["']?)(.*?)\1[ \t]*\r?$""", re.MULTILINE)


def read(path: Path, name: str) -> Document:
    """A Markdown file as one document; the title is the front matter's, or the first heading of level 1."""
    from markdown_it import MarkdownIt

    text = "".join(lines(path))
    composer = Composer()
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        composer.title = _front_title(front[1])
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        _write(token, composer)
    return composer.document(name)


def _front_title(front_matter: str) -> str:
    found = _FRONT_TITLE.search(front_matter)
    return found[2] if found else ""


def _write(token: Token, composer: Composer) -> None:
    match token.type:
        case "heading_open":
            composer.begin_heading()
        case "heading_close":
            composer.end_heading(int(token.tag[1:]))
        case "inline":
            _write_inline(token, composer)
        case "fence" | "code_block":
            composer.block(token.content.rstrip("\n"))
        case "html_block":
            html.write(token.content, composer)
        case _:
            _write_boundary(token, composer)


def _write_boundary(token: Token, composer: Composer) -> None:
    match token.type:
        case "tr_open":
            composer.begin_row()
        case "tr_close":
            composer.end_row()
        case "td_open" | "th_open":
            pass
        case "td_close" | "th_close":
            composer.end_cell()
        case _:
            composer.gap(_gap(token))


def _gap(token: Token) -> Gap:
    nested = token.level > 0 and token.type.startswith(("bullet_list", "ordered_list"))
    in_line = nested or token.hidden or token.type.startswith(("list_item", "thead_", "tbody_"))
    return Gap.LINE if in_line else Gap.BLOCK


def _write_inline(token: Token, composer: Composer) -> None:
    for child in token.children or ():
        if child.type in ("text", "code_inline", "image", "text_special"):
            composer.words(child.content)
        elif child.type == "softbreak":
            composer.gap(Gap.SPACE)
        elif child.type == "hardbreak" or child.content.lower().startswith("<br"):
            composer.gap(Gap.LINE)
