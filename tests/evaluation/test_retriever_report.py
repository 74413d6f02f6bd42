"""Retrieval evaluated over a tiny index: its ranks against the retriever's own, its report and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from odqa.embedder import Embedder
from odqa.errors import DataError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.ranked import ranked
from odqa.evaluation.retriever import RetrieverReport, evaluate_retriever
from odqa.evaluation.retriever_report import rendered
from odqa.index import Index
from odqa.recipes import Mode, RetrieverRecipe
from odqa.retriever import Retriever
from odqa.types import Document
from tests.cli.helpers import odqa, recipe
from tests.evaluation import made
from tests.evaluation.test_report_page import EVIL, Page
from tests.index import fakes
from tests.tiny import TEXTS

RECIPE = RetrieverRecipe(dense_weight=0.1)
ASKED = [
    ("Vistula River", 3, "Vistula"),
    ("oxygen lavoisier symbol", 1, None),
    ("Who led the Normans?", 6, "Rollo"),
    ("engine steam heat piston", 7, "boiler"),
    ("Which region of France?", 4, "Swiss canton"),
]


@pytest.fixture
def index(build: Callable[..., Index]) -> Index:
    return build("asked", [Document(f"Title {number}-0", text, f"Title {number}") for number, text in enumerate(TEXTS)])


@pytest.fixture
def questions() -> list[Question]:
    return [
        Question(
            f"q{row}",
            text,
            TEXTS[number],
            f"Title {number}",
            f"Title {number}-0",
            () if answer is None else (GoldAnswer(answer, TEXTS[number].index(answer)),),
            is_impossible=answer is None,
        )
        for row, (text, number, answer) in enumerate(ASKED)
    ]


@pytest.fixture
def report(index: Index, questions: list[Question], embedder: Embedder) -> RetrieverReport:
    return evaluate_retriever(index, RECIPE, questions, embedder=embedder, data="tiny.json", command="odqa eval")


def test_ranks_are_those_of_the_retriever(
    index: Index, questions: list[Question], report: RetrieverReport, embedder: Embedder
) -> None:
    hits = Retriever(index, RECIPE, embedder=embedder).retrieve([one.question for one in questions], top_k=len(TEXTS))
    names = [[hit.passage.document_id for hit in found] for found in hits]
    expected = [found.index(question.document_id) + 1 for question, found in zip(questions, names, strict=True)]
    assert list(report.questions.ranks["fused"]) == expected
    assert len(set(expected)) > 1
    for k in (1, 5):
        assert report.scores["fused"]["all"][f"recall@{k}"].mean == sum(one <= k for one in expected) / len(expected)
    assert report.scores["fused"]["all"]["mrr@100"].mean == pytest.approx(sum(1 / one for one in expected) / 5)
    given = [rank for rank, question in zip(expected, questions, strict=True) if question.answers]
    assert report.curves["fused"][:8] == tuple(sum(rank <= k for rank in given) / 4 for k in range(1, 9))
    assert len(report.curves["fused"]) == 100


def test_groups_stand_apart_and_hit_rates_need_answers(report: RetrieverReport) -> None:
    assert report.groups == {"all": 5, "answerable": 4, "unanswerable": 1}
    assert list(report.scores) == ["dense", "sparse", "fused"]
    assert report.scores["sparse"]["unanswerable"]["recall@1"].mean == 1.0
    assert report.scores["dense"]["all"]["recall@100"].mean == 1.0
    assert "hit_rate@1" in report.scores["dense"]["answerable"]
    assert not {"hit_rate@1"} & ({*report.scores["dense"]["all"]} | {*report.scores["dense"]["unanswerable"]})
    low, high = report.scores["fused"]["all"]["recall@1"].interval
    assert low <= report.scores["fused"]["all"]["recall@1"].mean <= high


def test_without_documents_answer_strings_count(
    index: Index, questions: list[Question], report: RetrieverReport, embedder: Embedder
) -> None:
    bare = [replace(question, document_id="", context="") for question in questions if question.answers]
    found = evaluate_retriever(index, RECIPE, bare, embedder=embedder)
    assert found.by_answer == 4
    assert set(found.scores["fused"]["answerable"]) == {f"hit_rate@{k}" for k in (1, 5, 10, 20, 100)}
    both = report.scores["fused"]["answerable"]
    assert {name: one.mean for name, one in found.scores["fused"]["answerable"].items()} == {
        name: one.mean for name, one in both.items() if name.startswith("hit_rate")
    }
    assert "For 4 of the questions the document is" in rendered(found)["report.html"]


def test_one_side_alone_is_not_fused(index: Index, questions: list[Question]) -> None:
    found = evaluate_retriever(index, RetrieverRecipe(mode=Mode.SPARSE), questions)
    assert list(found.scores) == ["sparse"]
    assert found.provenance.model == "BM25 alone"
    assert "Put first" in rendered(found)["report.html"]


def test_examples_are_what_is_not_met_first(index: Index, questions: list[Question], report: RetrieverReport) -> None:
    ranks = dict(zip(report.questions.id, report.questions.ranks["fused"], strict=True))
    assert {one.id for one in report.examples} == {
        question.id for question in questions if question.answers and ranks[question.id] != 1
    }
    for one in report.examples:
        assert one.kind == "not_first"
        assert one.ranks["fused"] == ranks[one.id]
        assert one.document_id != one.gold_document_id
        assert "".join(piece.text for piece in one.gold_passage if piece.gold) == one.gold[0]


def test_the_page_holds_all_and_nothing_breaks_out(report: RetrieverReport) -> None:
    hostile = replace(
        report,
        provenance=replace(report.provenance, command=EVIL, data=EVIL, model=EVIL),
        examples=tuple(replace(one, question=EVIL, passage=EVIL, title=EVIL) for one in report.examples),
    )
    texts = rendered(hostile)
    page = Page(texts["report.html"])
    assert page.open == []
    assert "<script" not in texts["report.html"].lower() + texts["report.md"].lower()
    assert page.tags.count("svg") == 1
    assert page.tags.count("details") == len(report.examples) >= 1
    body = json.loads(texts["report.json"])
    assert body["report"] == "odqa retriever evaluation"
    assert (
        body["scores"]["fused"]["answerable"]["recall@1"]["mean"]
        == report.scores["fused"]["answerable"]["recall@1"].mean
    )
    rows = [line for line in texts["report.md"].splitlines() if line.startswith(("| dense |", "| fused |"))]
    assert len(rows) == 6
    assert len({line.count("|") for line in rows}) == 1


def test_questions_about_other_documents_are_refused(
    index: Index, questions: list[Question], embedder: Embedder
) -> None:
    other = replace(questions[0], document_id="Normans-0")
    with pytest.raises(DataError, match='lacks 1 of the 2 documents asked about, the first "Normans-0"'):
        evaluate_retriever(index, RECIPE, [other, questions[1]], embedder=embedder)
    with pytest.raises(DataError, match="no question to evaluate"):
        evaluate_retriever(index, RECIPE, [], embedder=embedder)


def test_the_command_writes_a_report(
    index: Index, questions: list[Question], reader_folder: Path, embedder_folder: Path, tmp_path: Path
) -> None:
    data, out = str(made.write(questions, tmp_path / "asked.json")), tmp_path / "out"
    path = recipe(tmp_path, reader_folder, index="asked")
    done = odqa("eval", "retriever", "--pipeline", path, "--data", data, "--out", str(out))
    assert (done.returncode, "recall@1" in done.stdout) == (0, True), done.stderr
    assert "5 all, 4 answerable, 1 unanswerable" in done.stderr
    assert {one.name for one in out.iterdir()} == {"report.json", "report.md", "report.html"}
    again = odqa("eval", "retriever", "--pipeline", path, "--data", data, "--limit", "2", "--json")
    assert json.loads(again.stdout)["groups"]["all"] == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    refused = odqa("eval", "retriever", "--pipeline", path, "--data", data, "--out", str(tmp_path / "other"))
    assert (refused.returncode, "holds other files and no report of a retriever" in refused.stderr) == (1, True)


def test_documents_of_many_passages_are_ranked_as_deep_as_others() -> None:
    documents = [
        Document(f"d{number}", "\n".join(f"w1 x{number}y{line}" for line in range(10))) for number in range(30)
    ]
    fakes.build("made", documents)
    index = Index.open("made")
    retriever = fakes.retriever(index)
    query = fakes.vector("w1")
    best = {one.id: fakes.cosines(one.text.split("\n"), query).max() for one in documents}
    order = sorted(best, key=lambda name: -best[name])
    question = Question("q", "w1", "x", "t", order[18], ())
    found, _ = ranked(retriever, [question], 20)
    assert list(found["dense"][0].documents) == order[:20]
    assert found["dense"][0].gold == 19
