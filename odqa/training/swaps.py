"""Unanswerable questions made of answerable ones: a name or number is changed for another of the same passage.

People who wrote SQuAD v2's unanswerable questions often did just that.
Source: Rajpurkar et al. 2018, "Know What You Don't Know: Unanswerable Questions for SQuAD", table 1; for training with
made-up unanswerable questions, Zhu et al. 2019, "Learning to Ask Unanswerable Questions for Machine Reading".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from odqa.evaluation.dataset import Question
from odqa.text import sentences

_ENTITY = re.compile(r"\b(?:\d[\d,.]*\d|\d|[A-Z][\w-]{2,}(?: (?:of |the )*[A-Z][\w-]{2,})*)\b")


def swapped(question: Question, rng: np.random.Generator) -> str | None:
    """The question with one of its names or numbers changed; None where nothing fits.

    What is changed stands in the passage, and so does what takes its place, which is alike (as many words or digits),
    is neither in the question nor part of an answer, and isn't the first word of a sentence, which anything may be.
    """
    inside = list(_inner(question.context))
    pairs = [
        (found, other)
        for found in _ENTITY.finditer(question.question)
        if found.start() > 0 and found[0] in inside
        for other in inside
        if _alike(found[0], other) and not _is_said(other, question)
    ]
    if not pairs:
        return None
    found, other = pairs[rng.integers(len(pairs))]
    return question.question[: found.start()] + other + question.question[found.end() :]


def _inner(text: str) -> Iterator[str]:
    """Distinct names and numbers, in their order, of which none begins a sentence."""
    begins = {begin for begin, _ in sentences(text)}
    return iter(dict.fromkeys(found[0] for found in _ENTITY.finditer(text) if found.start() not in begins))


def _alike(one: str, other: str) -> bool:
    """Whether both are numbers of as many digits, or names of as many words without a common one."""
    if one[0].isdigit() or other[0].isdigit():
        return one != other and re.sub(r"\d", "0", one) == re.sub(r"\d", "0", other)
    words, others = one.split(), other.split()
    return len(words) == len(others) and not set(words) & set(others)


def _is_said(entity: str, question: Question) -> bool:
    answers = (answer.text for answer in question.answers)
    return entity in question.question or any(entity in answer or answer in entity for answer in answers)
