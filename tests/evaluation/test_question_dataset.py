"""Every form of data set gives the same records, and every fault is named."""

import gzip
import json
from copy import deepcopy
from pathlib import Path

import datasets
import pytest

from odqa.errors import DataError
from odqa.evaluation import squad
from odqa.evaluation.dataset import GoldAnswer, Question, load

CONTEXT = "The café stands in Paris, near the Seine."
OFFICIAL = {
    "version": "v2.0",
    "data": [
        {
            "title": "Café_life",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "text_kind": "original",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Where does it stand?",
                            "answers": [
                                {"text": "Paris", "answer_start": 19},
                                {"text": "in Paris", "answer_start": 16},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "q2",
                            "question": "Where is the tower?",
                            "answers": [],
                            "plausible_answers": [{"text": "near the Seine", "answer_start": 26}],
                            "is_impossible": True,
                        },
                    ],
                },
                {"context": "Nothing is asked here.", "qas": []},
                {
                    "context": "😀 x\u2028y",
                    "qas": [{"id": "q3", "question": "?", "answers": [{"text": "y", "answer_start": 4}]}],
                },
            ],
        },
        {"title": "Other", "paragraphs": [{"context": "", "qas": []}]},
    ],
}
PARIS = (GoldAnswer("Paris", 19), GoldAnswer("in Paris", 16))
EXPECTED = [
    Question("q1", "Where does it stand?", CONTEXT, "Café_life", "Café_life-0", PARIS, text_kind="original"),
    Question(
        "q2",
        "Where is the tower?",
        CONTEXT,
        "Café_life",
        "Café_life-0",
        (),
        is_impossible=True,
        plausible=(GoldAnswer("near the Seine", 26),),
        text_kind="original",
    ),
    Question("q3", "?", "😀 x\u2028y", "Café_life", "Café_life-2", (GoldAnswer("y", 4),)),
]
ROW = {
    "id": "q1",
    "title": "T",
    "context": "a b",
    "question": "?",
    "answers": {"text": ["b"], "answer_start": [2]},
}


def rows():
    """The questions as rows: no plausible answers, and the paragraph without a question is not there."""
    return [
        {
            "id": question.id,
            "title": question.title,
            "context": question.context,
            "question": question.question,
            "answers": {
                "text": [answer.text for answer in question.answers],
                "answer_start": [answer.start for answer in question.answers],
            },
        }
        for question in EXPECTED
    ]


def row_form(question, number):
    return Question(
        question.id,
        question.question,
        question.context,
        question.title,
        f"{question.title}-{number}",
        question.answers,
        question.is_impossible,
    )


ROW_RECORDS = [row_form(EXPECTED[0], 0), row_form(EXPECTED[1], 0), row_form(EXPECTED[2], 1)]


def write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def changed(*steps, value=None):
    """The official object with the value at the place of `steps` replaced, or taken out where None."""
    data = deepcopy(OFFICIAL)
    place = data
    for step in steps[:-1]:
        place = place[step]
    if value is None:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value
    return data


QA = ("data", 0, "paragraphs", 0, "qas", 0)


@pytest.mark.parametrize("name", ["dev.json", "dev.json.gz", "dev-v2.0.json"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_official_form(tmp_path, name, ascii_only):
    path = write(tmp_path / name, json.dumps(OFFICIAL, ensure_ascii=ascii_only))
    assert load(path) == load(str(path)) == EXPECTED


def test_byte_order_mark(tmp_path):
    assert load(write(tmp_path / "dev.json", "\ufeff" + json.dumps(OFFICIAL))) == EXPECTED


def test_answers_stand_at_their_spans():
    for question in EXPECTED:
        for answer in question.answers + question.plausible:
            assert question.context[answer.start : answer.end] == answer.text


def test_version_1_has_only_answerable_questions(tmp_path):
    data = deepcopy(OFFICIAL)
    qas = data["data"][0]["paragraphs"][0]["qas"]
    del qas[0]["is_impossible"], qas[1]
    assert [question.is_impossible for question in load(write(tmp_path / "v1.json", json.dumps(data)))] == [False] * 2


@pytest.mark.parametrize("name", ["dev.jsonl", "dev.jsonl.gz"])
def test_rows(tmp_path, name):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
    assert load(write(tmp_path / name, "\r\n".join(lines) + "\n\n")) == ROW_RECORDS


def test_saved_by_datasets(tmp_path):
    saved = datasets.Dataset.from_list(rows())
    saved.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"test": saved}).save_to_disk(tmp_path / "many")
    assert load(tmp_path / "one") == load(tmp_path / "many", split="test") == ROW_RECORDS


def test_name_of_datasets(monkeypatch):
    asked = []

    def load_dataset(name, *, split):
        asked.append((name, split))
        return datasets.Dataset.from_list(rows())

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load("squad_v2", split="train") == ROW_RECORDS
    assert asked == [("squad_v2", "train")]


def test_a_repeated_title_goes_on_counting(tmp_path):
    data = deepcopy(OFFICIAL)
    qa = {"id": "q4", "question": "?", "answers": [{"text": "b", "answer_start": 0}]}
    data["data"].append({"title": "Café_life", "paragraphs": [{"context": "b", "qas": [qa]}]})
    assert load(write(tmp_path / "dev.json", json.dumps(data)))[-1].document_id == "Café_life-3"


def test_records_evaluate_like_the_official_object(tmp_path):
    records = load(write(tmp_path / "dev.json", json.dumps(OFFICIAL)))
    predictions = {"q1": "the paris", "q2": "x", "q3": ""}
    assert squad.evaluate(records, predictions) == squad.evaluate(OFFICIAL, predictions)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"dev\.json\" is \[\]: expected an object in SQuAD form"),
        ({}, r'dev\.json" has no "data": add it as a list'),
        (changed("data", 0, "title"), r'dev\.json", an article has no "title": add it as a text'),
        (changed("data", 0, "paragraphs"), r'article "Café_life" has no "paragraphs"'),
        (changed("data", 0, "paragraphs", 0, "context"), r'paragraph "Café_life-0" has no "context"'),
        (changed("data", 0, "paragraphs", 2, "qas"), r'paragraph "Café_life-2" has no "qas"'),
        (changed("data", 0, "paragraphs", 0, "text_kind", value=1), r'has 1 as "text_kind": write it as a text'),
        (changed(*QA, value="text"), r"a question is 'text': expected an object"),
        (changed(*QA, "id"), r'paragraph "Café_life-0", a question has no "id"'),
        (changed(*QA, "id", value=7), r'has 7 as "id": write it as a text'),
        (changed(*QA, "question"), r'question "q1" has no "question"'),
        (changed(*QA, "answers"), r'question "q1" has no "answers": add it as a list'),
        (changed(*QA, "is_impossible", value="no"), r"has 'no' as \"is_impossible\": write it as true or false"),
        (changed(*QA, "answers", 0, "text"), r'question "q1", an answer has no "text"'),
        (changed(*QA, "answers", 0, "answer_start"), r'answer "Paris" has no "answer_start": add it as a whole number'),
        (changed(*QA, "answers", 0, "text", value=""), r'question "q1" has an empty answer: take it out'),
        (changed(*QA, "answers", 0, "answer_start", value=18), r'"Paris" does not stand at 18 .* "answer_start" to 19'),
        (changed(*QA, "answers", 0, "answer_start", value=-22), r'"Paris" does not stand at -22 .* to 19'),
        (changed(*QA, "answers", 0, "text", value="Rome"), r'"Rome" does not stand at 19 .*: correct the text'),
        (changed(*QA, "answers", value=[]), r'question "q1" has no answer: add one, or set "is_impossible" to true'),
        (
            changed(*QA, "is_impossible", value=True),
            r'question "q1" is marked as impossible but has the answer "Paris"',
        ),
        (changed(*QA, "id", value="q3"), r'dev\.json" repeats 1 ids, "q3" first: give each question its own'),
        (changed("data", value=[]), r'dev\.json" holds no question'),
        (changed(*QA[:-1], 1, "plausible_answers", 0, "text", value="Oise"), r'question "q2": the answer "Oise"'),
    ],
)
def test_faults_of_the_official_form(tmp_path, data, message):
    path = write(tmp_path / "dev.json", json.dumps(data))
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3, r'dev\.jsonl", line 2 is 3: expected an object'),
        ({key: value for key, value in ROW.items() if key != "title"}, r'line 2 has no "title"'),
        ({key: value for key, value in ROW.items() if key != "answers"}, r'line 2 has no "answers": add it as an obj'),
        (ROW | {"answers": []}, r'line 2 has \[\] as "answers": write it as an object'),
        (ROW | {"answers": {"text": []}}, r'line 2 has no "answer_start"'),
        (ROW | {"answers": {"text": ["b"], "answer_start": []}}, r"line 2 has 1 answer texts but 0 starts"),
        (ROW | {"answers": {"text": ["b"], "answer_start": [1]}}, r'line 2, question "q1": the answer "b" does not'),
        (ROW | {"answers": {"text": ["b"], "answer_start": ["2"]}}, r'"b" has \'2\' as "answer_start"'),
        (ROW | {"is_impossible": True}, r'line 2, question "q1" is marked as impossible'),
    ],
)
def test_faults_of_rows(tmp_path, row, message):
    path = write(tmp_path / "dev.jsonl", "\n" + json.dumps(row))
    with pytest.raises(DataError, match=message):
        load(path)


def test_not_json(tmp_path):
    with pytest.raises(DataError, match=r'dev\.json" is not JSON .*one object a line end in \.jsonl'):
        load(write(tmp_path / "dev.json", "{}\n{}"))
    with pytest.raises(DataError, match=r'dev\.jsonl", line 1 is not JSON'):
        load(write(tmp_path / "dev.jsonl", "{"))


@pytest.mark.parametrize(
    "data",
    [b"{}", gzip.compress(b"{}" * 99)[:-9], gzip.compress(b"\xff")],
    ids=["plain", "truncated", "not UTF-8"],
)
def test_not_readable(tmp_path, data):
    path = tmp_path / "dev.json.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"can't be read .* expected UTF-8 text, gzipped"):
        load(path)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r'nothing\.json" does not exist: give the path'):
        load(tmp_path / "nothing.json")


def test_unknown_form(tmp_path):
    with pytest.raises(DataError, match=r'dev\.csv" has an unknown form: expected \.json or \.jsonl'):
        load(write(tmp_path / "dev.csv", ""))


def test_name_that_datasets_can_not_load(monkeypatch):
    def load_dataset(name, *, split):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r'"squad_v2" is no file, .* split "validation" \(no network\): give a path'):
        load("squad_v2")


def test_folder_that_datasets_did_not_save(tmp_path):
    with pytest.raises(DataError, match=r"can't load its split"):
        load(tmp_path)


def test_training_needs_an_answerable_question(tmp_path):
    path = write(tmp_path / "dev.jsonl", json.dumps(ROW | {"answers": {"text": [], "answer_start": []}}))
    assert load(path)[0].is_impossible
    with pytest.raises(DataError, match=r'dev\.jsonl" holds no answerable question'):
        load(path, need_answerable=True)


def test_half_a_surrogate_pair_is_told(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    for broken in ({"question": "Who?\ud83d"}, {"answers": ["\ud83d"]}, {"title": "\ud83d"}):
        path.write_text(json.dumps({"question": "Who?", "answers": [], **broken}))
        with pytest.raises(DataError, match=r"line 1 has half of a surrogate pair \(.ud83d\)"):
            load(path, need_context=False)
