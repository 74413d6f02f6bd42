"""SQuAD files (v1.1 and v2.0): a document for each paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from odqa.corpus.streams import lines, one_line, opened
from odqa.errors import CorpusError
from odqa.types import Document

_SHAPE = 'expected {"data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [...]}]}]}'


class Paragraph(NamedTuple):
    """A paragraph of a SQuAD article; `content` is its JSON object, with `context` and `qas`."""

    document_id: str
    title: str
    content: Mapping[str, Any]


def read(path: Path) -> Iterator[Document]:
    """The paragraphs of a SQuAD file as documents, one article in memory at a time.

    Raises:
        CorpusError: not JSON, or JSON of another shape.
    """
    for paragraph in numbered(_articles(path), where=str(path)):
        yield Document(paragraph.document_id, paragraph.content["context"] or "", shown_title(paragraph.title))


def numbered(articles: Iterable[Any], *, where: str) -> Iterator[Paragraph]:
    """The paragraphs of SQuAD articles with their document ids, `TITLE-N`.

    N counts the paragraphs under that title from 0, and goes on where a title comes again. `where` names
    the articles in errors, and stands for a title where an article has none.

    Raises:
        CorpusError: an article is not of SQuAD's shape.
    """
    counts: Counter[str] = Counter()
    for number, article in enumerate(articles):
        try:
            title = str(article.get("title") or Path(where).name.split(".")[0])
            paragraphs = [_checked(paragraph) for paragraph in article["paragraphs"]]
        except (KeyError, TypeError, AttributeError):
            raise CorpusError(f"{where}: article {number} is not SQuAD: {_SHAPE}.") from None
        for paragraph in paragraphs:
            yield Paragraph(f"{title}-{counts[title]}", title, paragraph)
            counts[title] += 1


def shown_title(title: str) -> str:
    """A SQuAD title as people read it: `Beyonc%C3%A9_Knowles` is "Beyoncé Knowles"."""
    return unquote(title.replace("_", " "))


def _checked(paragraph: Any) -> Mapping[str, Any]:
    if not isinstance(paragraph["context"], str | None):
        raise TypeError
    content: Mapping[str, Any] = paragraph
    return content


def _articles(path: Path) -> Iterator[Any]:
    import ijson

    article = None
    with opened(path) as file:
        try:
            for article in ijson.items(file, "data.item"):
                yield article
        except ijson.JSONError as error:
            raise _not_json(path, error) from error
    if article is None:
        raise CorpusError(f"{path} holds no SQuAD article: {_SHAPE}.")


def _not_json(path: Path, error: Exception) -> CorpusError:
    if "UTF8" in str(error):
        for _ in lines(path):
            pass  # raises, and names the place
    message = str(error).split("\n", maxsplit=1)[0]
    return CorpusError(f"{path} is not JSON ({one_line(message)}): {_SHAPE}.")
