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


class Analyzer:
    """Text to terms: lower-cased words of two letters or more, without stop words, stemmed."""

    def __init__(self, card: TermsCard) -> None:
        """Check the card's languages.

        Raises:
            ConfigError: a language is unknown; the known ones are named.
        """
        import Stemmer
        from bm25s.tokenization import _infer_stopwords

        try:
            self._stop_words = list(_infer_stopwords(card.stop_words)) if card.stop_words else []
        except ValueError as error:
            raise ConfigError(f'terms.stop_words is "{card.stop_words}": {error}') from None
        if card.stemmer and card.stemmer not in Stemmer.algorithms():
            raise ConfigError(f'terms.stemmer is "{card.stemmer}"; known: {", ".join(Stemmer.algorithms())}.')
        self._stemmer = Stemmer.Stemmer(card.stemmer) if card.stemmer else None

    def terms(self, texts: Sequence[str]) -> list[list[str]]:
        """The terms of each text, in order, repeated as they stand."""
        numbers, names = self._numbered(texts)
        return [[names[number] for number in found] for found in numbers]

    def _numbered(self, texts: Sequence[str]) -> tuple[list[list[int]], list[str]]:
        """The terms of each text as numbers, and the term of each number."""
        from bm25s import tokenize

        found = tokenize(
            list(texts), stopwords=self._stop_words, stemmer=self._stemmer, return_ids=True, show_progress=False
        )
        names = [""] * (max(found.vocab.values(), default=-1) + 1)
        for term, number in found.vocab.items():
            names[number] = term
        return found.ids, names

    def postings(self, texts: Sequence[str]) -> Postings:
        """Count the terms of a segment's passages."""
        passages, names = self._numbered(texts)
        lengths = np.array([len(found) for found in passages], dtype=np.int32)
        given = np.fromiter(chain.from_iterable(passages), dtype=np.int64, count=int(lengths.sum()))
        used = np.unique(given)
        vocabulary = sorted(names[number] for number in used)
        ranks = {term: rank for rank, term in enumerate(vocabulary)}
        places = np.array([ranks[names[number]] for number in used], dtype=np.int64)
        rows = np.repeat(np.arange(len(passages), dtype=np.int64), lengths)
        width = max(1, len(passages))
        keys, counts = np.unique(places[np.searchsorted(used, given)] * width + rows, return_counts=True)
        owners, rows = np.divmod(keys, width)
        starts = np.searchsorted(owners, np.arange(len(vocabulary) + 1))
        stored = pa.array(vocabulary, pa.large_string())
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
        self._norms = [card.k1 * (1 - card.b + card.b * segment.lengths / average) for segment in segments]

    def scores(self, question: str) -> tuple[NDArray[np.float64], float]:
        """BM25 of every passage, float64 (passages,), 0 for a removed one, and the most that any could reach.

        `sum over terms of idf * tf / (tf + k1 * (1 - b + b * length / average))` with
        `idf = ln(1 + (N - df + 0.5) / (df + 0.5))`; each fraction stays under 1, so the sum of idf over the
        question's known terms bounds it.
        """
        scores = [np.zeros(len(segment.lengths)) for segment in self._segments]
        reach = 0.0
        for term, repeats in sorted(Counter(self._analyzer.terms([question])[0]).items()):
            found = [_live(segment, segment.of(term)) for segment in self._segments]
            frequency = sum(len(rows) for rows, _ in found)
            if not frequency:
                continue
            idf = repeats * np.log1p((self._passages - frequency + 0.5) / (frequency + 0.5))
            reach += float(idf)
            for (rows, counts), norm, total in zip(found, self._norms, scores, strict=True):
                total[rows] += idf * counts / (counts + norm[rows])
        return np.concatenate(scores) if scores else np.empty(0), reach


def _live(segment: Postings, place: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows and counts of the postings at `place`, without removed passages."""
    rows, counts = segment.passages[place], segment.counts[place]
    if segment.live is None:
        return rows, counts
    kept = segment.live[rows]
    return rows[kept], counts[kept]
