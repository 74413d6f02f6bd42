"""What benchmarks ask and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from odqa.bench import BenchError, work
from odqa.types import Document
from tests.tiny import TEXTS


@pytest.fixture
def squad(tmp_path: Path) -> str:
    paragraphs = [
        {"context": text, "qas": [{"id": f"{number}", "question": f"Q{number}?", "answers": [], "is_impossible": True}]}
        for number, text in enumerate(TEXTS)
    ]
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]}), encoding="utf-8")
    return str(path)


def test_a_question_comes_with_its_own_passage_first_then_with_those_that_follow(squad: str) -> None:
    single, together = work.tasks(squad, (), pairs=8, top_k=3)
    assert single == [work.Task(f"Q{number}?", (text,)) for number, text in enumerate(TEXTS)]
    assert [task.question for task in together] == ["Q0?", "Q2?", "Q5?"]
    assert together[2].passages == (TEXTS[5], TEXTS[6], TEXTS[7])
    assert work.tasks(squad, (), pairs=80, top_k=10)[1][7].passages == (TEXTS[7], *TEXTS[:7])


def test_by_default_there_are_five_hundred_pairs_of_the_bundled_corpus() -> None:
    single, together = work.tasks(None, (), pairs=500, top_k=10)
    assert len(single) == sum(len(task.passages) for task in together) == 500 * 1
    assert len({task.passages for task in single}) == 500


def test_questions_given_are_asked_of_the_bundled_corpus() -> None:
    single, _ = work.tasks(None, ["Who?", "When?"], pairs=1204, top_k=10)
    assert [task.question for task in single[:3]] == ["Who?", "When?", "Who?"]


def test_questions_for_an_index() -> None:
    documents = [Document("a", "text", title="Rollo"), Document("b", "text")]
    made = work.questions(documents, None, (), count=5)
    assert made[:2] == ["When was Rollo first described?", "Who is best known for Rollo?"]
    assert work.questions(documents, None, ["One?", "Two?"], count=3) == ["One?", "Two?", "One?"]
    with pytest.raises(BenchError, match="The index holds nothing to measure on"):
        work.questions([], None, (), count=5)


def test_texts_are_distinct_and_spread(squad: str) -> None:
    assert work.texts(squad, 4) == TEXTS[::2]
    assert work.texts(squad, 100) == TEXTS
