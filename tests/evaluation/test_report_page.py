"""The page and the Markdown: self-contained, and nothing in the data can break out."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.reader import evaluate_reader
from odqa.evaluation.report import rendered
from odqa.reader import Reader

EVIL = '<script>alert("1")</script> & | `x` [a](b) </blockquote>'


class Page(HTMLParser):
    """Collects tags, attributes and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def texts(reader: Reader) -> dict[str, str]:
    """A report whose questions, contexts, titles, answers, ids, data and command are hostile."""
    context = f"Rollo was a Viking. {EVIL}"
    questions = [
        Question("a", f"who {EVIL}?", context, EVIL, "T-0", (GoldAnswer(EVIL, 20),)),
        Question(f"b{EVIL}", "who\n\nled\u2028it?", context, EVIL, "T-0", (), is_impossible=True),
    ]
    long_reader = Reader(reader.recipe.model_copy(update={"max_length": 128}), device="cpu")
    report = evaluate_reader(long_reader, questions, data=EVIL, command=EVIL)
    return rendered(replace(report, provenance=replace(report.provenance, model=EVIL)))


def test_the_page_holds_nothing_but_itself(texts: dict[str, str]) -> None:
    html = texts["report.html"]
    page = Page(html)
    assert page.open == []
    assert not {"script", "link", "iframe", "img", "object", "embed", "base", "form"} & set(page.tags)
    loading = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset", "action")]
    assert all(value.startswith("#") for value in loading)
    assert all(place.startswith("#") for place in re.findall(r"url\(\s*[\"']?([^)]*)\)", html))
    assert "@import" not in html
    assert {value for _, value in page.attributes if "://" in value} <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_what_the_data_says_stays_text(texts: dict[str, str]) -> None:
    page = Page(texts["report.html"])
    assert "<script" not in texts["report.html"].lower()
    assert page.text.count('<script>alert("1")</script>') >= 6
    assert page.tags.count("blockquote") == page.tags.count("details") >= 1


def test_the_page_has_its_plots_in_the_colours_of_the_page(texts: dict[str, str]) -> None:
    page = Page(texts["report.html"])
    assert page.tags.count("svg") == page.tags.count("figcaption") == 3
    assert "var(--ink" in texts["report.html"]
    ids = [value for name, value in page.attributes if name == "id" and not re.fullmatch(r"[mp][0-9a-f]{10}", value)]
    assert len(ids) == len(set(ids))


def test_markdown_cells_hold_their_text(texts: dict[str, str]) -> None:
    markdown = texts["report.md"]
    assert "<script" not in markdown
    widths = [re.sub(r"\\.", "", line).count("|") for line in markdown.splitlines() if line.startswith("| w")]
    assert widths
    assert set(widths) <= {4, 6}  # the mistakes' table and the examples'
    assert "who led it?" in markdown
    assert r"\[a\](b)" in markdown
