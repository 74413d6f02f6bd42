"""`odqa eval reader` and `odqa reproduce` as commands, and a recipe's promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from odqa.cli import odqa
from odqa.errors import ConfigError, DataError
from odqa.evaluation.reproduce import compare
from odqa.reader import Reader
from odqa.recipes import ExpectedScores
from tests.evaluation import made
from tests.training import tiny_bases

READER = '[reader]\nmodel = "{}"\nmax_length = 48\ndoc_stride = 16\nmax_answer_length = 8\n'


def run(*arguments: object) -> Result:
    return CliRunner().invoke(odqa, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write(made.questions(reader), tmp_path_factory.mktemp("data") / "tiny.json")


@pytest.fixture(scope="module")
def scores(data: Path, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("scores")
    done = run(
        "eval", "reader", "--pipeline", recipe(folder, reader), "--data", data, "--out", folder / "out", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    found: dict[str, float] = json.loads(done.stdout)["scores"]
    return found


def recipe(folder: Path, reader: Reader | str, expected: str = "") -> Path:
    path = folder / "tiny.toml"
    model = reader if isinstance(reader, str) else reader.recipe.model
    path.write_text(f'description = "tiny"\n{READER.format(model)}{expected}', encoding="utf-8")
    return path


def expecting(scores: dict[str, float], **more: float) -> str:
    keys = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact")
    lines = [f"{key} = {scores[key] + more.get(key, 0.0)}" for key in keys]
    return "\n".join(["[expected]", *lines, 'source = "a paper"', "tolerance = 0.5", ""])


def test_eval_reader_prints_the_points(data: Path, reader: Reader, scores: dict[str, float], tmp_path: Path) -> None:
    done = run("eval", "reader", "--pipeline", recipe(tmp_path, reader), "--data", data, "--out", tmp_path / "out")
    assert done.exit_code == 0
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert list(lines) == ["threshold", "zero", "tuned", "oracle", "forced"]
    assert lines["tuned"][2:4] == [f"{scores['exact']:.2f}", f"{scores['f1']:.2f}"]
    assert "report.html" in done.stderr
    assert "report.html" not in done.stdout


def test_eval_reader_takes_a_sample(data: Path, reader: Reader, tmp_path: Path) -> None:
    out, made_recipe = tmp_path / "out", recipe(tmp_path, reader)
    done = run("eval", "reader", "--pipeline", made_recipe, "--data", data, "--out", out, "--limit", 7, "--seed", 2)
    assert done.exit_code == 0
    assert len(json.loads((out / "na_probs.json").read_text())) == 7


def test_reproduce_within_the_tolerance(data: Path, reader: Reader, scores: dict[str, float], tmp_path: Path) -> None:
    path = recipe(tmp_path, reader, expecting(scores, exact=0.4, f1=-9.0))
    done = run("reproduce", path, "--data", data, "--out", tmp_path / "out")
    assert done.exit_code == 0
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0] == ["score", "expected", "found", "difference", "verdict"]
    assert [row[0] for row in table[1:]] == ["exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact"]
    assert [row[3] for row in table[1:3]] == ["-0.40", "+9.00"]
    assert {row[4] for row in table[1:]} == {"reached"}
    assert "a paper" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_reproduce_fails_below_the_tolerance(
    data: Path, reader: Reader, scores: dict[str, float], tmp_path: Path
) -> None:
    path = recipe(tmp_path, reader, expecting(scores, NoAns_exact=0.6))
    done = run("reproduce", path, "--data", data, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    body = json.loads(done.stdout)
    assert body["reached"] is False
    assert [one["key"] for one in body["comparisons"] if not one["reached"]] == ["NoAns_exact"]
    table = run("reproduce", path, "--data", data, "--out", tmp_path / "out")
    assert table.exit_code == 1
    assert "falls short by more than 0.5" in table.stdout


def test_reproduce_with_another_model(data: Path, reader: Reader, scores: dict[str, float], tmp_path: Path) -> None:
    path = recipe(tmp_path, "./nowhere", expecting(scores))
    done = run("reproduce", path, "--data", data, "--out", tmp_path / "out", "--model", reader.recipe.model, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["model"] == reader.recipe.model


def test_reproduce_trains_first(tmp_path: Path) -> None:
    questions, splits = (
        tiny_bases.write_data(tmp_path / "train.json"),
        tiny_bases.write_splits(tmp_path / "splits.json"),
    )
    path = tiny_bases.write_recipe(tmp_path / "tiny.toml", tiny_bases.make_bert(tmp_path / "base"), epochs=0.5)
    path.write_text(path.read_text() + '[expected]\nexact = 0\nf1 = 0\nsource = "a paper"\n')
    given = ("reproduce", path, "--data", questions, "--out", tmp_path / "out", "--train", questions)
    for _ in range(2):
        done = run(*given, "--splits", splits, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["model"] == str(tmp_path / "out-training/model")
    both = run(*given, "--model", tmp_path / "out-training/model")
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)


def test_a_recipe_that_promises_nothing(data: Path, reader: Reader, tmp_path: Path) -> None:
    done = run("reproduce", recipe(tmp_path, reader), "--data", data, "--out", tmp_path / "out")
    assert isinstance(done.exception, ConfigError)
    assert "expects no scores" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_data_without_the_promised_kind(reader: Reader, scores: dict[str, float], tmp_path: Path) -> None:
    answerable = [question for question in made.questions(reader) if not question.is_impossible]
    path = recipe(tmp_path, reader, expecting(scores))
    data = made.write(answerable, tmp_path / "answerable.json")
    done = run("reproduce", path, "--data", data, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert "expects NoAns_exact, but the data has no unanswerable question" in str(done.exception)


def test_wrong_use_is_told(data: Path) -> None:
    assert run("eval", "reader", "--data", data).exit_code == 2
    assert run("eval", "reader", "--data", data, "--out", "x", "--limit", 0).exit_code == 2
    assert run("reproduce", "--data", data, "--out", "x").exit_code == 2


def test_compare_by_hand() -> None:
    expected = ExpectedScores(exact=75.0, f1=78.5, NoAns_exact=80.0, tolerance=1.0, source="a paper")
    found = compare({"exact": 74.0, "f1": 77.25, "NoAns_exact": 90.0, "HasAns_exact": 1.0}, expected)
    assert [(one.key, one.difference, one.reached) for one in found] == [
        ("exact", -1.0, True),
        ("f1", -1.25, False),
        ("NoAns_exact", 10.0, True),
    ]
