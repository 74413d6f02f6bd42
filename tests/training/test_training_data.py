from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from odqa.errors import DataError
from odqa.evaluation.dataset import Question
from odqa.models import file_sha256
from odqa.recipes import TrainingRecipe
from odqa.text import normalize_answer
from odqa.training.data import _drawn, examples, load
from tests.training.tiny_bases import articles, write_data, write_splits


def recipe(**options: Any) -> TrainingRecipe:
    return TrainingRecipe(base="b", learning_rate=1e-3, epochs=1, batch_size=8, **options)


def titles(questions: Any) -> set[str]:
    return {question.title for question in questions}


def second_file(path: Path) -> Path:
    """The same articles in another wording with ids of its own, gzipped."""
    copy = json.loads(json.dumps(articles()).replace('"id": "', '"id": "second-'))
    with gzip.open(path, "wt") as file:
        json.dump({"data": copy}, file)
    return path


def test_held_out_articles_are_left_out_of_every_file_and_scored_in_the_first(tmp_path: Path) -> None:
    first, second = write_data(tmp_path / "first.json"), second_file(tmp_path / "second.json.gz")
    splits = write_splits(
        tmp_path / "splits.json", select=["Article 6"], calibrate=["Article 7"], certify=["Article 5"]
    )
    data = load([first, second], splits=splits)
    assert titles(data.train) == {f"Article {number}" for number in range(5)}
    assert len(data.train) == 2 * 5 * 16
    assert titles(data.select) == {"Article 6"} and titles(data.calibrate) == {"Article 7"}
    assert not any(question.id.startswith("second") for question in (*data.select, *data.calibrate))
    assert [(file.name, file.questions, file.sha256) for file in data.files] == [
        ("first.json", 128, file_sha256(first)),
        ("second.json.gz", 128, file_sha256(second)),
    ]
    assert data.splits_sha256 == file_sha256(splits)


def test_without_splits_articles_are_drawn(tmp_path: Path) -> None:
    data = load([write_data(tmp_path / "train.json")])
    held = titles(data.select) | titles(data.calibrate)
    assert len(held) == 2 and not held & titles(data.train) and len(titles(data.train)) == 6


@pytest.mark.parametrize("count", [3, 20, 400])
def test_what_was_trained_with_is_not_held_out_once_there_is_more_data(count: int) -> None:
    def sources(first: int, last: int) -> list[list[Question]]:
        return [[Question(str(row), "?", "x", f"Title {row}", "", ()) for row in range(first, last)]]

    before = _drawn(sources(0, count))
    for more in (1, 10, 100):
        after = _drawn([*sources(0, count), *sources(count, count + more)])
        held = {title for titles in before.values() for title in titles}
        old = {f"Title {row}" for row in range(count)}
        assert {title for titles in after.values() for title in titles} & old <= held
        assert all(after.values())
    assert sum(map(len, _drawn(sources(0, 4000)).values())) == pytest.approx(400, rel=0.15)


def test_rows_without_a_title_train_and_too_few_titles_are_an_error(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    answers = {"text": ["Oslo"], "answer_start": [14]}
    row = {"id": "r", "title": "", "context": "Anna lives in Oslo.", "question": "Where?", "answers": answers}
    rows.write_text(json.dumps(row) + "\n")
    assert "r" in {question.id for question in load([write_data(tmp_path / "train.json"), rows]).train}
    with pytest.raises(DataError, match="names 0 articles by title: too few"):
        load([rows])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Can't read splits from"),
        ('{"titles": []}', "Can't read splits from"),
        ('{"splits": {"select": ["Article 1"]}}', '"splits" must name lists of titles, "select" and "calibrate"'),
        ('{"splits": {"select": "Article 1", "calibrate": ["Article 2"]}}', "must name lists of titles"),
        ('{"splits": {"select": ["A"], "calibrate": ["A"]}}', 'names the article "A" more than once'),
        ('{"splits": {"select": ["A"], "calibrate": ["B"]}}', "None of the 0 questions to select with is answerable"),
    ],
)
def test_wrong_splits(tmp_path: Path, text: str, message: str) -> None:
    splits = tmp_path / "splits.json"
    splits.write_text(text)
    with pytest.raises(DataError, match=message):
        load([write_data(tmp_path / "train.json")], splits=splits)


def broken(change: Any) -> list[dict[str, Any]]:
    content = articles()
    change(content[0]["paragraphs"][0]["qas"][0])
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(lambda qa: qa["answers"][0].update(answer_start=3)), '"Oslo" does not stand at 3 in its context'),
        (broken(lambda qa: qa.update(id="q1")), 'repeats 1 ids, "q1" first'),
        (broken(lambda qa: qa.pop("question")), 'question "q0" has no "question"'),
        (broken(lambda qa: qa.pop("answers")), 'question "q0" has no "answers"'),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, content: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load([write_data(tmp_path / "train.json", content)])


def test_data_without_an_answerable_question_and_ids_of_two_files_are_refused(tmp_path: Path) -> None:
    content = articles()
    for part in (part for article in content[:6] for part in article["paragraphs"]):
        del part["qas"][0]
    splits = write_splits(tmp_path / "splits.json")
    with pytest.raises(DataError, match="None of the 48 questions to train with is answerable"):
        load([write_data(tmp_path / "train.json", content)], splits=splits)
    again = write_data(tmp_path / "again.json")
    with pytest.raises(DataError, match=r'The id "q0" stands in .*first.json and in .*again.json'):
        load([write_data(tmp_path / "first.json"), again], splits=splits)


def backtranslated() -> list[dict[str, Any]]:
    content = articles()
    for part in content[0]["paragraphs"]:
        part["text_kind"] = "backtranslated"
    return content


def test_backtranslated_text_weighs_what_the_recipe_says(tmp_path: Path) -> None:
    splits = write_splits(tmp_path / "splits.json")
    train = load([write_data(tmp_path / "train.json", backtranslated())], splits=splits).train
    weights = [example.weight for example in examples(train, recipe(backtranslated_weight=0.25))]
    assert weights == [0.25] * 16 + [1.0] * 80
    assert len(examples(train, recipe(backtranslated_weight=0.0))) == 80


def test_examples_take_the_first_answer_without_white_space_at_its_ends(tmp_path: Path) -> None:
    content = articles()
    qa = content[0]["paragraphs"][0]["qas"][0]
    qa["answers"] = [{"text": " Oslo", "answer_start": 13}, {"text": "Anna", "answer_start": 0}]
    train = load([write_data(tmp_path / "train.json", content)], splits=write_splits(tmp_path / "splits.json")).train
    assert [example.span for example in examples(train, recipe())[:2]] == [(14, 18), None]


def test_negatives_are_other_passages_of_the_article_without_the_answer(tmp_path: Path) -> None:
    splits = write_splits(tmp_path / "splits.json")
    train = load([write_data(tmp_path / "train.json")], splits=splits).train
    found = examples(train, recipe(negative_share=0.5))
    plain, negatives = found[: len(train)], found[len(train) :]
    assert plain == examples(train, recipe())
    assert len(negatives) == 24 and negatives == examples(train, recipe(negative_share=0.5))[len(train) :]
    questions = {f"{question.id}-negative": question for question in train}
    for negative in negatives:
        question = questions[negative.id]
        passages = {other.context for other in train if other.title == question.title}
        assert negative.span is None and negative.question == question.question
        assert negative.context in passages - {question.context}
        assert normalize_answer(question.answers[0].text) not in normalize_answer(negative.context).split()


def test_a_share_of_the_back_translated_text_takes_part(tmp_path: Path) -> None:
    splits = write_splits(tmp_path / "splits.json")
    train = load([write_data(tmp_path / "train.json", backtranslated())], splits=splits).train
    translated = {question.id for question in train if question.text_kind == "backtranslated"}
    kept = [example.id for example in examples(train, recipe(backtranslated_share=0.5))]
    assert len(translated) == 16
    assert 0 < len(translated & set(kept)) < 16
    assert len(set(kept) - translated) == 80
    assert kept == [example.id for example in examples(train, recipe(backtranslated_share=0.5))]
