"""`odqa bench` end to end on tiny models: what its rows hold, and that what is compared finds the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odqa.bench import forward, serve
from odqa.bench import read as reading
from odqa.bench.embed import mean_cosine
from odqa.bench.work import Task
from odqa.index import Index
from odqa.reader import Reader
from tests.cli.helpers import odqa, recipe
from tests.tiny import TEXTS


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = [
        {"id": f"{number}", "title": "T", "context": text, "question": f"What is {text.split()[1]}?", "answers": empty}
        for number, text in enumerate(TEXTS)
        for empty in [{"text": [], "answer_start": []}]
    ]
    path = tmp_path / "made.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def bench(*arguments: str) -> dict[str, Any]:
    done = odqa("bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["machine"]["processor"]
    assert found["bench"] == arguments[0]
    return found


def test_embed_agrees_with_sentence_transformers(embedder_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("\n".join(json.dumps({"id": text[:9], "text": text}) for text in TEXTS), encoding="utf-8")
    found = bench("embed", "--model", str(embedder_folder), "--data", str(source), "--rounds", "1", "--device", "cpu")
    ours, theirs = found["rows"]
    assert found["settings"]["passages"] == len(TEXTS)
    assert (ours["what"], ours["odqa's ratio"]) == ("odqa", 1.0)
    assert theirs["cosine"] == pytest.approx(1, abs=1e-5)
    assert theirs["odqa's ratio"] == pytest.approx(ours["passages/s"] / theirs["passages/s"])


def test_read_agrees_with_plain_torch(reader_folder: Path, tmp_path: Path, data: str) -> None:
    path = recipe(tmp_path, reader_folder)
    arguments = ["--pipeline", path, "--data", data, "--pairs", "8", "--top-k", "4", "--rounds", "1"]
    found = bench("read", *arguments, "--device", "cpu")
    assert [(row["work"], row["what"]) for row in found["rows"]] == [
        ("single pairs", "odqa"),
        ("single pairs", "torch float32, cpu"),
        ("4 passages", "odqa"),
        ("4 passages", "torch float32, cpu"),
    ]
    assert all(row["same answers"] == 1.0 for row in found["rows"])
    assert (found["settings"]["pairs"], found["settings"]["questions"]) == (8, 2)


def test_the_best_answer_is_the_reader_s(reader: Reader) -> None:
    task = Task("Who led the Normans?", (TEXTS[6], TEXTS[1], ""))
    best, each = reading.best(reader, task)
    alone = [reader.answer(task.question, text, n_best=1, abstain="never").answers for text in task.passages]
    assert each == tuple(answers[0].text if answers else "" for answers in alone)
    assert best == max((answers[0] for answers in alone if answers), key=lambda answer: answer.margin).text


def test_agreement_counts_best_answers_or_passages() -> None:
    odqa_s = [("The Seine", ("The Seine", "x")), ("b", ("b", "c"))]
    assert reading.agreement([("seine", ()), ("z", ())], odqa_s) == 0.5
    assert reading.agreement([("", ("seine", "y")), ("", ("b", "c"))], odqa_s) == 0.75
    assert reading._bests(["a", None, ["b", None]]) == [("a", ()), ("", ()), ("", ("b", ""))]


def test_the_mean_cosine() -> None:
    assert mean_cosine(np.array([[3.0, 0], [1, 1]]), np.array([[1.0, 0], [0, 1]])) == pytest.approx((1 + 0.5**0.5) / 2)


def test_search_and_ask_cover_every_side(
    build: Callable[..., Index], reader_folder: Path, tmp_path: Path, data: str
) -> None:
    build()
    path = recipe(tmp_path, reader_folder)
    searched = bench("search", "--pipeline", path, "--data", data, "--top-k", "3")
    assert [row["what"] for row in searched["rows"]] == [
        "embed the question",
        "dense search",
        "sparse search",
        "hybrid search",
        "vectors, as the index searches",
        "vectors, every one",
    ]
    assert searched["rows"][-2]["recall"] == 1.0
    assert searched["settings"] == {"index": "tiny", "factory": "Flat", "passages": 8, "top_k": 3, "questions": 8}
    asked = bench("ask", "Who led the Normans?", "--pipeline", path, "--count", "2", "--cold", "1")
    assert [(row["what"], row["runs"]) for row in asked["rows"]] == [
        ("odqa --version, a process", 1),
        ("odqa ask, a process", 1),
        ("warm", 2),
        ("of that, retrieve", 2),
        ("of that, read", 2),
        ("warm, 32 at once", 1),
    ]
    assert 10 < asked["rows"][0]["peak MiB"] < asked["rows"][1]["peak MiB"] < 2_000


def test_forward_counts_windows_and_their_operations(reader_folder: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, reader_folder)
    found = bench("forward", "--pipeline", path, "--tokens", "100", "--seconds", "0", "--device", "cpu")
    assert [row["what"] for row in found["rows"]] == ["1 in a batch", "5 in a batch", "product of 2048 x 2048 matrices"]
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert forward._operations(reader_folder, 100) == 2 * 100 * weights + 2 * (2 * 2 * 100 * 100 * 32)
    for row in found["rows"][:-1]:
        assert row["GFLOP/s"] == pytest.approx(row["windows/s"] * forward._operations(reader_folder, 100) / 1e9)
        assert row["of products"] == pytest.approx(row["GFLOP/s"] / found["rows"][-1]["GFLOP/s"])


def test_forward_says_what_it_can_t_run(reader_folder: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, reader_folder)
    for arguments, expected in (
        (("--pipeline", path, "--tokens", "200"), "reads 128 tokens at most: give --tokens 128 or fewer."),
        (("--bert-base", "--device", "openvino"), "Random weights run on torch alone"),
    ):
        done = odqa("bench", "forward", *arguments)
        assert done.returncode == 1
        assert expected in done.stderr


def test_a_table_names_the_machine(embedder_folder: Path) -> None:
    done = odqa(
        "bench", "embed", "--model", str(embedder_folder), "--passages", "5", "--rounds", "1", "--device", "cpu"
    )
    assert done.stdout.splitlines()[0].split() == ["what", "passages/s", "odqa's", "ratio", "cosine"]
    assert "engine torch on the CPU, float32" in done.stdout


def test_a_missing_index_is_one_line() -> None:
    for name in ("search", "ask", "serve"):
        done = odqa("bench", name, "--index", "nowhere")
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")


def test_a_round_counts_what_came_in_time() -> None:
    made = serve.Round(2.0)
    made.outcomes.update({"200": 4, "429": 1})
    made.answered.extend([0.1, 0.2, 0.3])
    row = made.row(batching=True, clients=8, memory=100)
    assert (row["questions/s"], row["clients"], row["outcomes"]) == (1.5, 8, "200: 4, 429: 1")
    assert row["p50 ms"] == pytest.approx(200)
