"""A pipeline's report: its files against the official scores of those files, losses that add up, and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from odqa.embedder import Embedder
from odqa.errors import ConfigError, DataError
from odqa.evaluation import answers, losses, squad
from odqa.evaluation.answers import Answered, Best, Found
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.losses import Case, Loss, loss
from odqa.evaluation.outcomes import Outcome
from odqa.evaluation.pipeline import PipelineReport, evaluate_pipeline
from odqa.evaluation.pipeline_report import evaluate_to_folder, rendered
from odqa.evaluation.saved import FILE, Saved
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Choice, Reader, rank
from odqa.reader import result as put_together
from odqa.recipes import RetrieverRecipe
from odqa.retriever import Retriever
from odqa.types import Document, Hit, Passage, Reading, Result, Span
from tests.cli.helpers import odqa, recipe
from tests.evaluation import made
from tests.evaluation.test_report_page import EVIL, Page
from tests.tiny import TEXTS

MAIN = ("exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact", "NoAns_f1", "NoAns_total")
TOP_KS = (2, 5)


@pytest.fixture(scope="session")
def questions(reader: Reader) -> list[Question]:
    return made.questions(reader)


@pytest.fixture
def asked(build: Callable[..., Index], embedder: Embedder, reader: Reader, questions: list[Question]) -> Pipeline:
    """A pipeline over the questions' paragraphs, with relevance, and a threshold that some answers reach."""
    index = build("paragraphs", [Document(f"Article {n}-0", text) for n, text in enumerate(TEXTS)])
    recipe = RetrieverRecipe(top_k=3, relevance_slope=2.0, relevance_intercept=-1.0)
    tuned = Reader(reader.recipe.model_copy(update={"null_threshold": 0.6}), device="cpu")
    return Pipeline(Retriever(index, recipe, embedder=embedder), tuned, name="tiny")


@pytest.fixture
def report(asked: Pipeline, questions: list[Question]) -> PipelineReport:
    return evaluate_pipeline(asked, questions, top_ks=TOP_KS, data="tiny.json", command="odqa eval pipeline")


def without_times(text: str) -> Any:
    body = json.loads(text)
    return {key: value for key, value in body.items() if key not in ("seconds", "questions_per_second")}


def test_the_scores_are_those_of_the_files(report: PipelineReport, questions: list[Question]) -> None:
    files = {name: json.loads(text) for name, text in rendered(report).items() if name.endswith(".json")}
    data, forced, na_probs = made.official(questions), files["predictions_forced.json"], files["na_probs.json"]
    depth = files["report.json"]["depths"]["5"]
    assert depth["scores"] == squad.evaluate(data, forced, na_probs, depth["thresholds"]["tuned"]["na_prob"])
    assert {key: depth["scores"][key] for key in MAIN} == squad.evaluate(data, files["predictions.json"])
    for point in depth["thresholds"].values():
        figures = squad.evaluate(data, forced, na_probs, point["na_prob"])
        assert point["scores"] == {key: figures[key] for key in MAIN}
    rows = files["report.json"]["questions"]
    assert 100 * sum(rows["f1"]) / len(rows["f1"]) == pytest.approx(depth["scores"]["f1"])
    assert rows["id"] == [question.id for question in questions]


@pytest.mark.parametrize("top_k", TOP_KS)
def test_one_reading_gives_what_the_pipeline_answers(
    asked: Pipeline, questions: list[Question], report: PipelineReport, top_k: int
) -> None:
    texts = [question.question for question in questions]
    kept = asked.answer_batch(texts, top_k=top_k, n_best=1)
    given = {
        question.id: result.answers[0].text if result.answers else ""
        for question, result in zip(questions, kept, strict=True)
    }
    figures = squad.evaluate(questions, given)
    assert {key: report.depths[top_k].scores[key] for key in MAIN} == figures
    found = answers.ask(asked, questions, TOP_KS)
    for one, result in zip(found, asked.answer_batch(texts, top_k=top_k, abstain="never"), strict=True):
        best = one.at[top_k].best
        assert best is not None
        assert (best.text, best.passage) == (result.answers[0].text, result.answers[0].passage)
        assert best.score == pytest.approx(result.answers[0].score, abs=1e-4)
        assert best.passage[best.start : best.end] == best.text
        assert one.at[top_k].passages == len(result.passages) == top_k


def test_every_passage_is_read_once(
    asked: Pipeline, questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str]] = []
    plain = Reader.read

    def note(self: Reader, pairs: Any) -> Any:
        read.extend(pairs)
        return plain(self, pairs)

    monkeypatch.setattr(Reader, "read", note)
    answers.ask(asked, questions[:6], (1, 2, 8))
    assert len(read) == len(set(read)) == len({question.question for question in questions[:6]}) * 8


def test_losses_add_up(report: PipelineReport) -> None:
    for depth in report.depths.values():
        total, found = depth.scores["total"], depth.losses
        assert list(found) == [str(one) for one in Loss]
        assert sum(found.values()) == total
        assert 100 * (found["right"] + found["rightly_abstained"]) / total == pytest.approx(depth.scores["exact"])
        impossible = found["rightly_abstained"] + found["wrongly_answered"]
        assert impossible == depth.scores["NoAns_total"]
        assert 100 * found["rightly_abstained"] / impossible == pytest.approx(depth.scores["NoAns_exact"])
    assert report.depths[5].losses["not_retrieved"] < report.depths[2].losses["not_retrieved"]
    shown = {example.loss for example in report.examples}
    assert shown == {one for one in Loss if one not in losses.GAINS and report.deepest.losses[one]}


def test_losses_by_hand() -> None:
    question = Question("a", "?", "red dog", "T", "T-0", (GoldAnswer("red", 0),))
    best = Best("dog", 4, 7, 1.0, 1.0, 0.7, 1.0, "T-0", "", "red dog")
    outcome = Outcome(question, "dog", 4, 7, 1.0, 0.0, 0.0)
    elsewhere = replace(best, document_id="U-0")
    impossible = replace(outcome, question=replace(question, answers=(), is_impossible=True))
    cases = [
        (replace(outcome, exact=1.0), Found(elsewhere, None, 3), 0.0, Loss.RIGHT),
        (outcome, Found(elsewhere, None, 3), 0.0, Loss.NOT_RETRIEVED),
        (outcome, Found(best, 1, 3), 2.0, Loss.WRONGLY_ABSTAINED),
        (outcome, Found(elsewhere, 2, 3), 0.0, Loss.WRONG_PASSAGE),
        (outcome, Found(best, 1, 3), 0.0, Loss.WRONG_SPAN),
        (impossible, Found(best, 1, 3), 0.0, Loss.WRONGLY_ANSWERED),
        (impossible, Found(best, 1, 3), 2.0, Loss.RIGHTLY_ABSTAINED),
    ]
    assert [loss(Case(one, found), threshold) for one, found, threshold, _ in cases] == [want for *_, want in cases]
    audited = losses.audit([Case(impossible, Found(best, 1, 3)), Case(impossible, Found(elsewhere, None, 3))], 0.0)
    assert [(one.document_id, one.gold_document_id) for one in audited] == [("U-0", "T-0")]


def test_the_gold_passage_is_read_by_the_same_reader(
    asked: Pipeline, report: PipelineReport, questions: list[Question]
) -> None:
    results = [asked.reader.answer(question.question, question.context) for question in questions]
    given = {one.id: r.answers[0].text if r.answers else "" for one, r in zip(questions, results, strict=True)}
    assert report.gold is not None
    assert {key: report.gold.scores[key] for key in MAIN} == squad.evaluate(questions, given)


def test_a_killed_run_resumed_gives_the_same_report(
    asked: Pipeline, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, whole, cut = str(made.write(questions, tmp_path / "tiny.json")), tmp_path / "whole", tmp_path / "cut"
    evaluate_to_folder(asked, data, whole, top_ks=TOP_KS)
    calls: Iterator[int] = iter(range(10))

    def killed(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return answers.ask(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("odqa.evaluation.pipeline.ask", killed)
        evaluate_to_folder(asked, data, cut, top_ks=TOP_KS)
    lines = (cut / FILE).read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 64
    (cut / FILE).write_text("".join(lines[:-3]) + lines[-3][:40])  # half a line of half a batch
    with pytest.raises(ConfigError, match="cut holds the answers of an interrupted evaluation: go on with --resume"):
        evaluate_to_folder(asked, data, cut, top_ks=TOP_KS)
    with pytest.raises(ConfigError, match=r"was made with top_k \[2, 5\], not \[5\]: go on with the same settings"):
        evaluate_to_folder(asked, data, cut, top_ks=[5], resume=True)
    evaluate_to_folder(asked, data, cut, top_ks=TOP_KS, resume=True)
    assert without_times((cut / "report.json").read_text()) == without_times((whole / "report.json").read_text())
    for name in ("predictions.json", "predictions_forced.json", "na_probs.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    evaluate_to_folder(asked, data, cut, limit=5)
    assert len(json.loads((cut / "predictions.json").read_text())) == 5


def test_what_was_saved_of_other_questions_or_is_damaged_is_refused(
    asked: Pipeline, questions: list[Question], tmp_path: Path
) -> None:
    data, out = str(made.write(questions, tmp_path / "tiny.json")), tmp_path / "out"
    evaluate_to_folder(asked, data, out, limit=3)
    lines = (out / FILE).read_text().splitlines(keepends=True)
    (out / FILE).write_text("".join([lines[0], *lines[:0:-1]]))
    with pytest.raises(ConfigError, match=r"outcomes\.jsonl holds the answers of other questions: give a new"):
        evaluate_to_folder(asked, data, out, limit=3, resume=True)
    (out / FILE).write_text("".join([lines[0], "{}\n"]))
    with pytest.raises(ConfigError, match=r"outcomes\.jsonl is damaged \(KeyError\('at'\)\): give a new or empty"):
        evaluate_to_folder(asked, data, out, limit=3, resume=True)


def test_questions_of_ones_own_need_no_paragraph(asked: Pipeline, tmp_path: Path) -> None:
    rows = [
        {"question": "who led the normans?", "answers": ["Rollo"]},
        {"question": "what is oxygen?", "answers": ["chemical element"], "document_id": "Article 1-0", "id": "x"},
        {"question": "who made the moon?", "answers": []},
    ]
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = evaluate_to_folder(asked, str(data), tmp_path / "out", top_ks=[8])
    assert [outcome.question.id for outcome in report.outcomes] == ["1", "x", "3"]
    assert (report.gold, report.by_answer, report.deepest.retrieved) == (None, 2, 1.0)
    assert sum(report.deepest.losses.values()) == 3
    assert "For 2 of the questions no document of the index is given" in (tmp_path / "out" / "report.html").read_text()


def test_answer_strings_are_held_against_whole_words() -> None:
    question = Question("a", "?", "", "T", "", (GoldAnswer("The Red Dog", 0),))
    assert answers.holds_answer("It was a red   dog.", question)
    assert not answers.holds_answer("It was a red dogma.", question)
    assert answers.is_gold("any", "A red, dog", question)
    assert not answers.is_gold("any", "A red, dog", replace(question, document_id="T-0"))


def test_documents_that_the_index_lacks(asked: Pipeline, questions: list[Question]) -> None:
    index = asked.retriever.index
    other = [replace(question, document_id="Other") for question in questions]
    assert answers.with_known_documents(index, questions) == questions
    assert {question.document_id for question in answers.with_known_documents(index, other)} == {""}
    with pytest.raises(DataError, match='"paragraphs" lacks 1 of the 9 documents asked about, the first "Other"'):
        answers.with_known_documents(index, [*questions, other[0]])


def test_bad_input_is_refused(asked: Pipeline, questions: list[Question], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="top_k is 0; it must be at least 1"):
        evaluate_pipeline(asked, questions, top_ks=[3, 0])
    with pytest.raises(DataError, match="no question to evaluate"):
        evaluate_pipeline(asked, [])
    with pytest.raises(DataError, match='Question "q0-0" can\'t be asked'):
        evaluate_pipeline(asked, [replace(questions[0], question=" ")])
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files and no report of a pipeline: give a new or empty folder"):
        evaluate_to_folder(asked, "none.json", tmp_path)


def test_the_page_is_sound_and_holds_nothing_but_itself(asked: Pipeline, questions: list[Question]) -> None:
    hostile = [replace(question, id=f"{question.id}{EVIL}", title=EVIL) for question in questions]
    texts = rendered(evaluate_pipeline(asked, hostile, top_ks=TOP_KS, data=EVIL, command=EVIL))
    page = Page(texts["report.html"])
    assert page.open == []
    assert "<script" not in texts["report.html"].lower() + texts["report.md"].lower()
    assert page.tags.count("svg") == 4
    assert page.text.count(EVIL.split(" ")[0]) >= 4
    assert "What retrieval costs" in texts["report.md"]
    widths = {line.count("|") for line in texts["report.md"].splitlines() if line.startswith(("| right", "| not"))}
    assert widths == {6}


def test_the_command(asked: Pipeline, questions: list[Question], tmp_path: Path) -> None:
    data, out = str(made.write(questions, tmp_path / "tiny.json")), str(tmp_path / "out")
    path = recipe(tmp_path, Path(asked.reader.recipe.model), "paragraphs")
    arguments = ("eval", "pipeline", "--pipeline", path, "--data", data, "--out", out, "--limit", "20", "--top-k", "2")
    run = odqa(*arguments, "--top-k", "4", "--seed", "1")
    assert run.returncode == 0, run.stderr
    assert [line[:12].strip() for line in run.stdout.splitlines()[1:]] == ["gold passage", "top 2", "top 4"]
    again = odqa(*arguments, "--top-k", "4", "--seed", "1", "--resume", "--json")
    assert json.loads(again.stdout)["depths"].keys() == {"2", "4"}


def two_hits(*margins: float, bound: float | None = None) -> tuple[Question, Result, Pipeline]:
    """ "Rome" in the second passage is right; the first scores higher and stands under "no answer"."""
    hits = [Hit(Passage("a-0", "Oslo"), 1.0, 3.0), Hit(Passage("a-1", "Rome"), 0.5, -1.0)]
    readings = [Reading((Span(0, 4, margin),)) for margin in margins]
    question = Question("q", "Where?", "Rome", "a", "a-1", (GoldAnswer("Rome", 0),))
    ranked = rank(hits[: len(readings)], readings, 0.0, Choice.of(9, "never", None))
    found = put_together("Where?", hits, readings, ranked, timings={})
    return question, found, SimpleNamespace(calibration=None, null_threshold=0.0)  # type: ignore[return-value]


def test_an_answer_under_the_threshold_makes_room_for_the_next() -> None:
    found = answers._found(*two_hits(-1.0, 2.5))
    assert found.best is not None and found.given is not None
    assert (found.best.text, found.given.text, found.gold_rank) == ("Oslo", "Rome", 2)
    assert answers._found(*two_hits(-1.0, -2.5)).given.text == "Oslo"  # type: ignore[union-attr]
    assert answers._found(*two_hits(1.0, 2.5)).instead is None


def test_the_gold_passage_counts_only_where_it_was_read() -> None:
    found = answers._found(*two_hits(1.0))
    assert (found.gold_rank, found.passages) == (None, 1)


def test_what_is_given_makes_the_tuned_scores(asked: Pipeline, questions: list[Question]) -> None:
    """Without relevance to tell passages apart, many a best answer is dropped for another."""
    recipe = asked.retriever.recipe.model_copy(update={"relevance_slope": 30.0})
    loose = Pipeline(Retriever(asked.retriever.index, recipe, embedder=asked.retriever.embedder), asked.reader)
    made_report = evaluate_pipeline(loose, questions, top_ks=(5,))
    kept = loose.answer_batch([question.question for question in questions], top_k=5, n_best=1)
    given = {
        question.id: one.answers[0].text if one.answers else "" for question, one in zip(questions, kept, strict=True)
    }
    assert any(case.found.instead for case in made_report.cases)
    assert {key: made_report.depths[5].scores[key] for key in MAIN} == squad.evaluate(questions, given)
    assert json.loads(rendered(made_report)["predictions.json"]) == given
    assert sum(made_report.depths[5].losses.values()) == len(questions)


def test_what_is_given_instead_survives_a_kill(tmp_path: Path) -> None:
    found = [answers._found(*two_hits(*margins)) for margins in ((-1.0, 2.5), (1.0, 2.5), (-1.0,))]
    written = [Answered(f"q{row}", {5: one}, None, {"read": 1.0}) for row, one in enumerate(found)]
    saved = Saved(tmp_path, {"top_k": 5})
    saved.begin(written)
    assert Saved(tmp_path, {"top_k": 5}).resume(["q0", "q1", "q2"], 32) == written
    assert [one.at[5].instead is not None for one in written] == [True, False, False]
