"""HTML files: the text that a browser shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from odqa.corpus.compose import Composer, Gap
from odqa.corpus.streams import lines
from odqa.types import Document

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_DROPPED = frozenset(("head", "iframe", "nav", "noscript", "script", "style", "svg", "template"))
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_BLOCKS = frozenset(("address", "article", "aside", "blockquote", "body", "dl", "fieldset", "figure", "footer", "form"))
_BLOCKS |= frozenset(("header", "hr", "main", "ol", "p", "pre", "section", "table", "ul"))
_LINES = frozenset(("br", "caption", "center", "dd", "div", "dt", "figcaption", "legend", "li", "option"))
_CELLS = frozenset(("td", "th"))


def read(path: Path, name: str) -> Document:
    """An HTML file as one document; the title is `<title>`, or the first heading of level 1."""
    composer = Composer()
    parser = write("".join(lines(path)), composer)
    title = parser.css_first("head title")
    if title is not None:
        composer.title = title.text().strip() or composer.title
    return composer.document(name)


def write(source: str, composer: Composer) -> LexborHTMLParser:
    """Add the text of HTML source to `composer`."""
    from selectolax.lexbor import LexborHTMLParser

    parser = LexborHTMLParser(source)
    root = parser.body if parser.body is not None else parser.root
    preformatted = 0
    for node, entering in _walk(root):
        tag = node.tag or ""
        if node.is_text_node:
            (composer.write if preformatted else composer.words)(node.text_content or "")
        elif tag == "pre":
            preformatted += 1 if entering else -1
            composer.gap(Gap.BLOCK)
        elif tag in _HEADINGS:
            composer.begin_heading() if entering else composer.end_heading(int(tag[1]))
        elif tag == "tr":
            composer.begin_row() if entering else composer.end_row()
        elif tag in _CELLS and not entering:
            composer.end_cell()
        else:
            composer.gap(_gap(tag))
    return parser


def _walk(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """Each node on the way in (`True`), and each element again on the way out; depth costs no stack."""
    stack = [(root, True)] if root is not None else []
    while stack:
        node, entering = stack.pop()
        if node.tag in _DROPPED:
            continue
        yield node, entering
        if entering and node.is_element_node:
            stack.append((node, False))
            stack.extend((child, True) for child in reversed(list(node.iter(include_text=True))))


def _gap(tag: str) -> Gap:
    if tag in _BLOCKS:
        return Gap.BLOCK
    return Gap.LINE if tag in _LINES else Gap.NONE
