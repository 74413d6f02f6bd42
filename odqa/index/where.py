"""Filters over documents: `title = "Normans" and year >= 1990`.

Grammar::

    filter     = term ("or" term)*
    term       = factor ("and" factor)*
    factor     = "not" factor | "(" filter ")" | comparison
    comparison = column ("=" | "!=" | "<" | "<=" | ">" | ">=") value
               | column ["not"] "in" "(" value ("," value)* ")"
    column     = a name, or any text in backquotes
    value      = "text" | 'text' | number | true | false | null

A column is `id`, `title` or a key of the metadata. Text compares by code points. A document that lacks the column, or
holds null there, equals null and meets no other comparison. `!=` and `not in` ask for a value that is there.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa.errors import ConfigError
from odqa.types import Scalar

Mask = NDArray[np.bool_]
Column = Callable[[str], Sequence[Scalar]]
Filter = Callable[[Column], Mask]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<column>`[^`]+`)
    | (?P<word>[^\W\d][\w.-]*)
    | (?P<sign><=|>=|!=|==|[=<>(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = {"true": True, "false": False, "null": None}
_KEYWORDS = {"and", "or", "not", "in", *_WORDS}
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: Any
    at: int


def parse(text: str) -> Filter:
    """Read a filter, to be applied to columns.

    Raises:
        ConfigError: it can't be read; the place is named.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    def whole(self) -> Filter:
        found = self._filter()
        if self._next.kind != "end":
            raise self._wrong('expected "and", "or" or the end')
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _accept(self, value: str) -> bool:
        matches = self._next.kind in ("keyword", "sign") and self._next.value == value
        self._place += matches
        return matches

    def _expect(self, value: str) -> None:
        if not self._accept(value):
            raise self._wrong(f'expected "{value}"')

    def _wrong(self, reason: str) -> ConfigError:
        return _wrong(self._text, self._next.at, reason)

    def _filter(self) -> Filter:
        found = [self._term()]
        while self._accept("or"):
            found.append(self._term())
        return _joined(np.logical_or, found)

    def _term(self) -> Filter:
        found = [self._factor()]
        while self._accept("and"):
            found.append(self._factor())
        return _joined(np.logical_and, found)

    def _factor(self) -> Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"nested more than {_DEEPEST} deep")
        if self._accept("not"):
            found = _opposite(self._factor())
        elif self._accept("("):
            found = self._filter()
            self._expect(")")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Filter:
        if self._next.kind != "column":
            raise self._wrong("expected the name of a column")
        column = self._take().value
        negated = self._accept("not")
        if negated or (self._next.kind == "keyword" and self._next.value == "in"):
            self._expect("in")
            return _one_of(column, self._values(), negated=negated)
        sign = self._take()
        if sign.kind != "sign" or sign.value not in ("=", "==", "!=", *_ORDER):
            raise _wrong(self._text, sign.at, "expected =, !=, <, <=, >, >= or in")
        value = self._value()
        if sign.value not in _ORDER:
            return _one_of(column, [value], negated=sign.value == "!=")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self._wrong(f"{sign.value} compares with a text or a number")
        return _ordered(column, _ORDER[sign.value], value)

    def _values(self) -> list[Scalar]:
        self._expect("(")
        found = [self._value()]
        while self._accept(","):
            found.append(self._value())
        self._expect(")")
        return found

    def _value(self) -> Scalar:
        token = self._next
        if token.kind == "keyword" and token.value in _WORDS:
            return _WORDS[self._take().value]
        if token.kind != "value":
            raise self._wrong('expected a value: "text", a number, true, false or null')
        value: Scalar = self._take().value
        return value


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(text, at + len(text[at:]) - len(text[at:].lstrip()), "can't read this")
        found.append(_token(match))
        at = match.end()
    return [*found, _Token("end", None, len(text))]


def _token(match: re.Match[str]) -> _Token:
    kind = str(match.lastgroup)
    text, at = match[kind], match.start(kind)
    if kind == "number":
        return _Token("value", _number(text, at), at)
    if kind == "text":
        return _Token("value", re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL), at)
    if kind == "word" and text.lower() in _KEYWORDS:
        return _Token("keyword", text.lower(), at)
    return _Token("column" if kind in ("word", "column") else kind, text.strip("`"), at)


def _number(text: str, at: int) -> float:
    try:
        return float(text) if set(text) & set(".eE") else int(text)
    except ValueError:  # Python reads integers of up to 4,300 digits
        raise _wrong(text, at, "a number with too many digits") from None


def _wrong(text: str, at: int, reason: str) -> ConfigError:
    return ConfigError(f"The filter {text!r} is wrong at character {at + 1}: {reason}.")


def _joined(join: np.ufunc, filters: list[Filter]) -> Filter:
    def test(column: Column) -> Mask:
        found = filters[0](column)
        for one in filters[1:]:
            found = join(found, one(column))
        return found

    return test


def _opposite(inner: Filter) -> Filter:
    return lambda column: ~inner(column)


def check_column(name: str, known: Collection[str]) -> None:
    """Raise a ConfigError where no document has that column."""
    if name not in ("id", "title", *known):
        columns = ", ".join(["id", "title", *sorted(known)])
        raise ConfigError(f'No document has a column "{name}". There are: {columns}.')


def _one_of(name: str, wanted: list[Scalar], *, negated: bool) -> Filter:
    keys = {(_kind(value), value) for value in wanted}

    def test(column: Column) -> Mask:
        values = column(name)
        for value in wanted:
            _check_kind(name, values, value)
        among = np.array([(_kind(value), value) in keys for value in values], dtype=np.bool_)
        if not negated:
            return among
        return ~among & np.array([value is not None or None in wanted for value in values], dtype=np.bool_)

    return test


def _ordered(name: str, compare: Callable[[Any, Any], bool], wanted: Scalar) -> Filter:
    kind = _kind(wanted)

    def test(column: Column) -> Mask:
        values = column(name)
        _check_kind(name, values, wanted)
        return np.array([_kind(value) == kind and compare(value, wanted) for value in values], dtype=np.bool_)

    return test


def _kind(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return "text" if isinstance(value, str) else "numbers"


def _check_kind(name: str, values: Sequence[Scalar], wanted: Scalar) -> None:
    kinds = {_kind(value) for value in values} - {"null"}
    if wanted is not None and kinds and _kind(wanted) not in kinds:
        raise ConfigError(f'Column "{name}" holds {" and ".join(sorted(kinds))}, but is compared with {wanted!r}.')
