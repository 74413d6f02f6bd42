"""Questions for the tiny reader: some right, some partly right, some wrong, some without an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.outcomes import best_spans
from odqa.reader import Reader
from odqa.text import normalize_answer
from tests.tiny import TEXTS

ASKED = ["who was {}?", "what is {}?", "when did {} end?", "where is the {}?", "why {}?", "how did {} begin?"]


def questions(reader: Reader) -> list[Question]:
    """Eight articles of twelve questions whose answers are made from what the reader finds."""
    bare = [
        Question(f"q{number}-{place}", _asked(text, place), text, f"Article {number}", f"Article {number}-0", ())
        for number, text in enumerate(TEXTS)
        for place in range(12)
    ]
    spans = best_spans(reader, bare)
    return [
        replace(question, answers=answers, is_impossible=not answers)
        for row, (question, span) in enumerate(zip(bare, spans, strict=True))
        for answers in [_answers(question.context, row, span.start, span.end)]
    ]


def official(given: Sequence[Question]) -> dict[str, object]:
    """The official form of the questions, one paragraph for each article."""
    articles: dict[str, list[Question]] = {}
    for question in given:
        articles.setdefault(question.title, []).append(question)
    return {"version": "v2.0", "data": [_article(title, group) for title, group in articles.items()]}


def write(given: Sequence[Question], path: Path) -> Path:
    """Write the questions in the official form."""
    path.write_text(json.dumps(official(given)), encoding="utf-8")
    return path


def _asked(text: str, place: int) -> str:
    words = text.split()
    return ASKED[place % len(ASKED)].format(words[(place * 5) % len(words)].strip(".,"))


def _answers(context: str, row: int, start: int, end: int) -> tuple[GoldAnswer, ...]:
    own = GoldAnswer(context[start:end], start)
    longer = GoldAnswer(context[start:], start)
    word = max(context.split(), key=len)
    other = GoldAnswer(word, context.index(word))
    if not normalize_answer(own.text):  # the official script has its quirks with articles and punctuation alone
        return (other,)
    return [(own, other), (longer,), (), (other,), (), (own,), ()][row % 7]


def _article(title: str, group: Sequence[Question]) -> dict[str, object]:
    qas = [
        {
            "id": question.id,
            "question": question.question,
            "answers": [{"text": answer.text, "answer_start": answer.start} for answer in question.answers],
            "is_impossible": question.is_impossible,
        }
        for question in group
    ]
    return {"title": title, "paragraphs": [{"context": group[0].context, "qas": qas}]}
