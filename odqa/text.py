"""Text rules that several parts share."""

from __future__ import annotations

import re
import string
import unicodedata
from itertools import pairwise

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_JOINERS = {"Mn", "Me", "Mc"}
_SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+(?![a-zß-ÿ])|(?<=[。！？])|[\r\n]+""")


def normalize_answer(text: str) -> str:
    """Lower-case, without ASCII punctuation, English articles and extra white space.

    Source: `normalize_answer` of the official SQuAD v2.0 evaluation script.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of characters that follow one another over the whole text, cut after sentences and lines.

    A full stop ends a sentence where white space and no small letter follows: some abbreviations do, too.
    """
    ends = [0, *(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]
    return [(start, end) for start, end in pairwise(ends) if start < end]


def broken_at(text: str) -> int | None:
    """Where half of a surrogate pair stands, which badly decoded text may hold and no file can; None in sound text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def counted(count: int, noun: str) -> str:
    """A number and what it counts, such as "1 passage" or "1,204 passages"; `noun` is one of them."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def snap(text: str, start: int, end: int) -> tuple[int, int]:
    """Move a span to whole characters as people see them, without white space at its ends.

    Tokenizers cut inside what a person sees as one character (a letter and its accent, a joined emoji):
    such a span is widened. The result may be empty where the span held white space alone.
    """
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return start, end
    while start > 0 and _continues(text, start):
        start -= 1
    while end < len(text) and _continues(text, end):
        end += 1
    return start, end


def _continues(text: str, place: int) -> bool:
    """Whether `text[place]` belongs to the same visible character as the one before it."""
    if text[place - 1].isspace() or text[place].isspace():
        return False
    joined = "\N{ZERO WIDTH JOINER}" in text[place - 1 : place + 1]
    return joined or unicodedata.category(text[place]) in _JOINERS or _is_skin_tone(text[place])


def _is_skin_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"
