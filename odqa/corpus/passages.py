"""Documents into passages: pieces that fit the embedder, cut at ends of sentences where that can be."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from odqa.errors import ConfigError
from odqa.types import Document, Passage, Section

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Range = tuple[int, int]

_CHARACTERS_PER_TOKEN = 100
_BATCH = 64
_WRAP = re.compile(r"^([^\r\n\t|]{40,})(\r?\n)(?!\s|[-*+•·#>|]|\d+[.)]\s)", re.MULTILINE)
"""A full line and the line end after it, where the next line is no list item, heading, quotation or table row."""


class Splitter:
    """Cuts documents into passages of at most `max_tokens` tokens, special tokens not counted.

    A document that fits stays whole. A longer one is cut between paragraphs, lines, sentences, words or
    characters, at the strongest of these that leaves a passage to fit; line ends that only wrap a sentence
    don't count. Nothing but white space is left out. A passage is also at most 100 * `max_tokens` characters
    long, and a single character that is more tokens than `max_tokens` makes a passage of its own.

    Args:
        tokenizer: the embedder's tokenizer; it is copied, and its truncation and padding are not used.
        max_tokens: tokens a passage holds at most.
        overlap: tokens that neighbouring passages share at most; whole sentences, or words of a cut sentence.

    Raises:
        ConfigError: the two numbers don't go together.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, overlap: int = 0) -> None:
        if not 0 <= overlap < max_tokens:
            raise ConfigError(
                f"Passages of max_tokens = {max_tokens} with overlap = {overlap}: "
                "the overlap must be at least 0 and less than max_tokens."
            )
        from semantic_text_splitter import TextSplitter

        self._tokenizer = _without_limits(tokenizer)
        self._cutter = TextSplitter.from_huggingface_tokenizer(self._tokenizer, max_tokens, overlap=overlap)
        self._max_tokens = max_tokens
        self._window = _CHARACTERS_PER_TOKEN * max_tokens
        self._unwraps = _reads_line_ends_as_spaces(self._tokenizer)

    def split(self, document: Document) -> list[Passage]:
        """The passages of one document in order; none if its text is empty or white space alone."""
        return list(self.split_all((document,)))

    def split_all(self, documents: Iterable[Document]) -> Iterator[Passage]:
        """The passages of many documents in order; faster than one by one."""
        rest = iter(documents)
        while batch := list(islice(rest, _BATCH)):
            for document, fits in zip(batch, self._fit(batch), strict=True):
                yield from _passages(document, self._spans(document.text, fits))

    def _fit(self, documents: Sequence[Document]) -> list[bool]:
        short = [len(document.text) <= self._window for document in documents]
        counts = self._counts(document.text if fits else "" for document, fits in zip(documents, short, strict=True))
        return [fits and count <= self._max_tokens for fits, count in zip(short, counts, strict=True)]

    def _counts(self, texts: Iterable[str]) -> list[int]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    def _spans(self, text: str, fits: bool) -> Iterable[Range]:
        if not text or text.isspace():
            return ()
        return ((0, len(text)),) if fits else self._cuts(_unwrapped(text) if self._unwraps else text)

    def _cuts(self, text: str) -> Iterator[Range]:
        """Spans over the text, cut window by window since the cutter's time isn't linear in its input.

        What lies at the end of a window was cut by the window, so the next one begins with it.
        """
        start = covered = 0
        while start < len(text):
            end = min(start + self._window, len(text))
            chunks = self._cutter.chunk_indices(text[start:end])
            spans = [(start + offset, start + offset + len(chunk)) for offset, chunk in chunks]
            if end < len(text) and spans and spans[-1][0] > start:
                end, _ = spans.pop()
            for first, last in self._halved(text, spans):
                if last > covered and not text[first:last].isspace():
                    yield first, last
                    covered = last
            start = end

    def _halved(self, text: str, spans: Sequence[Range]) -> Iterator[Range]:
        """The spans, with those too long in halves: the cutter takes a text to have no more tokens than bytes."""
        counts = self._counts(text[start:end] for start, end in spans)
        for (start, end), count in zip(spans, counts, strict=True):
            if count <= self._max_tokens or end - start == 1:
                yield start, end
            else:
                middle = (start + end) // 2
                yield from self._halved(text, ((start, middle), (middle, end)))


def _passages(document: Document, spans: Iterable[Range]) -> Iterator[Passage]:
    starts = [section.start for section in document.sections]
    for start, end in spans:
        yield Passage(
            document_id=document.id,
            text=document.text[start:end],
            start=start,
            title=document.title,
            metadata=document.metadata,
            sections=_overlapping(document.sections, starts, start, end),
        )


def _overlapping(sections: tuple[Section, ...], starts: list[int], start: int, end: int) -> tuple[Section, ...]:
    """The sections that lie in [start, end), the one that began before it included."""
    first = max(bisect_right(starts, start) - 1, 0)
    return sections[first : bisect_left(starts, end)]


def _unwrapped(text: str) -> str:
    """The text, as long as it was, with spaces for the line ends that only wrap a paragraph."""
    return _WRAP.sub(lambda line: line[1] + " " * len(line[2]), text)


def _without_limits(tokenizer: Tokenizer) -> Tokenizer:
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _reads_line_ends_as_spaces(tokenizer: Tokenizer) -> bool:
    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    return ids("a\nb") == ids("a b") and ids("a\r\nb") == ids("a  b")
