"""Terms of passages as raw counts, and BM25 computed from them at query time.

Source: Kamphuis et al. 2020, "Which BM25 do you mean?", Lucene's variant; equal to bm25s with method="lucene".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odqa.errors import ConfigError
from odqa.recipes import TermsCard


@dataclass(frozen=True, slots=True)
class Postings:
    """The terms of one segment.

    Attributes:
        terms: Sorted by code points.
        starts: int64 (terms + 1,), where each term's postings begin.
        passages: int32 (postings,), rows of passages, rising within a term.
        counts: int32 (postings,), how often the term stands in that passage.
        lengths: int32 (passages,), terms in each passage.
        live: bool (passages,), those not removed; None where all are live.
    """

    terms: pa.LargeStringArray
    starts: NDArray[np.int64]
    passages: NDArray[np.int32]
    counts: NDArray[np.int32]
    lengths: NDArray[np.int32]
    live: NDArray[np.bool_] | None = None

    def of(self, term: str) -> slice:
        """Where the postings of `term` stand; empty for an unknown one."""
        place = bisect_left(self.terms, term, key=lambda value: value.as_py())
        known = place < len(self.terms) and self.terms[place].as_py() == term
        return slice(int(self.starts[place]), int(self.starts[place + 1])) if known else slice(0, 0)


def searched_text(title: str, text: str) -> str:
    """What a passage's terms are counted in: the title of its document, then its own text."""
    return f"{title}\n{text}"


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Terms as they stand in texts: those of `rows[i]` by its number, which is a place in `names`; int64 (tokens,)."""

    rows: NDArray[np.int64]
    numbers: NDArray[np.int64]
    names: Sequence[str]


class Analyzer:
    """Text to terms: lower-cased words of two letters or more, without stop words, stemmed; and pairs of neighbours.

    A pair is two neighbouring words of which at most one is a stop word, where the card gives pairs a weight.
    Source: Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions", section 3.1.
    """

    def __init__(self, card: TermsCard) -> None:
        """Check the card's languages.

        Raises:
            ConfigError: a language is unknown; the known ones are named.
        """
        import Stemmer
        from bm25s.tokenization import _infer_stopwords

        try:
            self._stop_words = frozenset(_infer_stopwords(card.stop_words)) if card.stop_words else frozenset()
        except ValueError as error:
            raise ConfigError(f'terms.stop_words is "{card.stop_words}": {error}') from None
        if card.stemmer and card.stemmer not in Stemmer.algorithms():
            raise ConfigError(f'terms.stemmer is "{card.stemmer}"; known: {", ".join(Stemmer.algorithms())}.')
        self._stemmer = Stemmer.Stemmer(card.stemmer) if card.stemmer else None
        self._pairs = card.pairs > 0

    def terms(self, texts: Sequence[str]) -> list[list[str]]:
        """The terms of each text, repeated as they stand, words before pairs."""
        found: list[list[str]] = [[] for _ in texts]
        tokens = self._tokens(texts)
        for row, number in zip(tokens.rows.tolist(), tokens.numbers.tolist(), strict=True):
            found[row].append(tokens.names[number])
        return found

    def _tokens(self, texts: Sequence[str]) -> _Tokens:
        from bm25s import tokenize

        found = tokenize(list(texts), stopwords=[], return_ids=True, show_progress=False)
        words = sorted(found.vocab, key=found.vocab.__getitem__)
        stems, stem_of = self._stems(words)
        stops = np.array([word in self._stop_words for word in words], dtype=np.bool_)
        rows = np.repeat(np.arange(len(texts)), [len(one) for one in found.ids])
        places = np.fromiter(chain.from_iterable(found.ids), dtype=np.int64, count=len(rows))
        single = ~stops[places]
        numbers = stem_of[places]
        if not self._pairs:
            return _Tokens(rows[single], numbers[single], stems)
        near = (rows[:-1] == rows[1:]) & (single[:-1] | single[1:])
        keys, pairs = np.unique(numbers[:-1][near] * len(stems) + numbers[1:][near], return_inverse=True)
        firsts, seconds = np.divmod(keys, max(1, len(stems)))
        names = [*stems, *(f"{stems[one]} {stems[two]}" for one, two in zip(firsts, seconds, strict=True))]
        return _Tokens(
            np.concatenate([rows[single], rows[:-1][near]]),
            np.concatenate([numbers[single], pairs + len(stems)]),
            names,
        )

    def _stems(self, words: list[str]) -> tuple[list[str], NDArray[np.int64]]:
        """The distinct stems, and the place of each word's."""
        stemmed = self._stemmer.stemWords(words) if self._stemmer else words
        stems = sorted(set(stemmed))
        places = {stem: place for place, stem in enumerate(stems)}
        return stems, np.array([places[stem] for stem in stemmed], dtype=np.int64)

    def postings(self, texts: Sequence[str]) -> Postings:
        """Count the terms of a segment's passages."""
        tokens = self._tokens(texts)
        used = np.unique(tokens.numbers)
        order = sorted(used.tolist(), key=tokens.names.__getitem__)
        ranks = np.empty(len(tokens.names), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        width = max(1, len(texts))
        keys, counts = np.unique(ranks[tokens.numbers] * width + tokens.rows, return_counts=True)
        owners, rows = np.divmod(keys, width)
        starts = np.searchsorted(owners, np.arange(len(order) + 1))
        stored = pa.array([tokens.names[number] for number in order], pa.large_string())
        lengths = np.bincount(tokens.rows, minlength=len(texts)).astype(np.int32)
        return Postings(stored, starts, rows.astype(np.int32), counts.astype(np.int32), lengths)


class Bm25:
    """BM25 over all live segments: document frequencies and the average length are the whole generation's."""

    def __init__(self, segments: Sequence[Postings], card: TermsCard) -> None:
        """Take the segments in the order of their rows."""
        self._segments = segments
        self._card = card
        self._analyzer = Analyzer(card)
        lengths = [segment.lengths if segment.live is None else segment.lengths[segment.live] for segment in segments]
        self._passages = sum(len(one) for one in lengths)
        total = sum(int(one.sum(dtype=np.int64)) for one in lengths)
        average = total / self._passages if total else 1.0
        self._norms = [
            np.asarray(card.k1 * (1 - card.b + card.b * segment.lengths / average), np.float64) for segment in segments
        ]

    def search(self, question: str) -> Search:
        """Look a question's terms up."""
        terms = []
        for term, repeats in sorted(Counter(self._analyzer.terms([question])[0]).items()):
            found = [_live(segment, segment.of(term)) for segment in self._segments]
            frequency = sum(len(rows) for rows, _ in found)
            if frequency:
                idf = np.log1p((self._passages - frequency + 0.5) / (frequency + 0.5))
                weight = self._card.pairs if " " in term else 1.0
                terms.append(_Term(float(weight * repeats * idf), found))
        return Search(terms, self._norms)


@dataclass(frozen=True, slots=True)
class _Term:
    """A term of a question: its rows, rising, and its counts there, for each segment.

    Its weight is its idf times its repeats, that of a pair also times the card's `pairs`.
    """

    weight: float
    found: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]]


class Search:
    """One question over all live segments. BM25 here is a share of `reach`, the most that any passage could have.

    BM25 is `sum over terms of idf * tf / (tf + k1 * (1 - b + b * length / average))` with
    `idf = ln(1 + (N - df + 0.5) / (df + 0.5))`, that of a pair times the card's `pairs`. Each fraction stays under 1,
    so that the sum of idf over the question's known terms bounds it.
    """

    def __init__(self, terms: Sequence[_Term], norms: Sequence[NDArray[np.float64]]) -> None:
        """Take terms that stand somewhere, and of each segment's passages what their length adds to a count."""
        self.reach = sum(term.weight for term in terms)
        self._terms = terms
        self._norms = norms
        self._ends = np.cumsum([len(norm) for norm in norms], dtype=np.int64)

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the passages at `rows`, float64 (rows,), in [0, 1), 0 for a removed one; the same wherever they stand."""
        order = np.argsort(rows)
        scores = np.zeros(len(rows))
        for term in self._terms:
            scores[order] += self._given(term, rows[order])
        return scores / self.reach if self.reach else scores

    def largest(self, count: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Rows of the `count` largest scores over 0 and of all that equal the last of them, of those `allowed`.

        Terms are added from the heaviest on. Once those left could lift no further passage to where `count` others
        already are, they are looked up only for the passages that can still get there.
        Source: Turtle and Flood 1995, "Query evaluation: strategies and optimizations".
        """
        total = int(self._ends[-1]) if len(self._ends) else 0
        partial, seen = np.zeros(total), np.zeros(total, dtype=np.bool_)
        rows, left = np.empty(0, dtype=np.int64), self.reach
        for term in sorted(self._terms, key=lambda term: -term.weight):
            floor = _floor(partial[rows], count)
            if floor > left + _ROUNDING:
                rows = rows[partial[rows] + left + _ROUNDING >= floor]
                partial[rows] += self._given(term, rows)
            else:
                for number, (local, _) in enumerate(term.found):
                    places = local + self._begin(number)
                    partial[places] += self._parts(term, number, slice(None))
                    seen[places] = True
                rows = np.flatnonzero(seen if allowed is None else seen & allowed)
            left -= term.weight
        near = rows[partial[rows] + _ROUNDING >= _floor(partial[rows], count)]
        return near[with_ties(self.scores(near), count)]

    def _given(self, term: _Term, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a term gives the passages at `rows`, which rise, float64 (rows,)."""
        given = np.zeros(len(rows))
        cuts = np.searchsorted(rows, [0, *self._ends])
        for number, (local, _) in enumerate(term.found):
            mine = slice(cuts[number], cuts[number + 1])
            places, at = _where(local, rows[mine] - self._begin(number))
            given[mine][at] = self._parts(term, number, places)
        return given

    def _begin(self, number: int) -> int:
        return int(self._ends[number - 1]) if number else 0

    def _parts(self, term: _Term, number: int, places: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        """What a term adds to the passages of the postings at `places` in a segment."""
        rows, counts = (column[places] for column in term.found[number])
        return np.asarray(term.weight * counts / (counts + self._norms[number][rows]))


_ROUNDING = 1e-9
"""More than sums of the same parts in another order differ by."""


def with_ties(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the `count` largest scores and of all that equal the last of them."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.flatnonzero(scores >= _floor(scores, count))


def _floor(scores: NDArray[np.float64], count: int) -> float:
    """The last of the `count` largest; 0 where there are fewer."""
    return float(np.partition(scores, -count)[-count]) if len(scores) >= count else 0.0


def _where(rows: NDArray[np.int32], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in `rows`, which rise, of those that are wanted, and their places among the wanted."""
    places = np.searchsorted(rows, wanted)
    places[places == len(rows)] = 0
    at = np.flatnonzero(rows[places] == wanted) if len(rows) else np.empty(0, dtype=np.int64)
    return places[at], at


def _live(segment: Postings, place: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows and counts of the postings at `place`, without removed passages."""
    rows, counts = segment.passages[place], segment.counts[place]
    if segment.live is None:
        return rows, counts
    kept = segment.live[rows]
    return rows[kept], counts[kept]
