"""The program as a user runs it: help, an index from files, questions, bad input."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import odqa, process, recipe
from tests.tiny import TEXTS

QUESTION = "who led the normans?"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, embedder_folder: Path, reader_folder: Path) -> dict[str, str]:
    """A home with an index built by the program from a JSONL file, and a recipe for it."""
    folder = tmp_path_factory.mktemp("program")
    source = folder / "corpus.jsonl"
    rows = [{"id": f"d{number}", "title": "T", "text": text} for number, text in enumerate(TEXTS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "none", "text": None}]), "utf-8")
    home = str(folder / "home")
    done = odqa("index", "build", "tiny", str(source), "--embedder", str(embedder_folder), ODQA_HOME=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 documents (1 without text skipped), 8 passages" in done.stdout
    return {"home": home, "recipe": recipe(folder, reader_folder)}


def ask(built: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return odqa("ask", "--pipeline", built["recipe"], *arguments, stdin=stdin, ODQA_HOME=built["home"])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom odqa.cli import odqa\nodqa(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'faiss', 'pyarrow', 'pydantic', 'rich', 'fastapi', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Answer questions from your own documents" in done.stdout


def test_help_tells_the_settings_that_hold_without_an_option() -> None:
    from odqa.service import Settings

    shown, settings = " ".join(odqa("serve", "--help", COLUMNS="80").stdout.split()), Settings()
    assert f"Seconds that a request may take; {settings.deadline:g} without it" in shown
    assert f"tokens that may wait; {settings.queue_tokens:,} without it" in shown
    assert f"Size of a question's request; {settings.max_body:,} without it" in shown


@pytest.mark.parametrize("group", ["index", "pipeline", "eval"])
def test_what_commands_do_fits_the_line_of_the_list(group: str) -> None:
    listed = odqa(group, "--help", COLUMNS="80").stdout.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_ask_prints_the_answer_in_its_passage(built: dict[str, str]) -> None:
    options = ["--pipeline", built["recipe"], "--abstain", "never", "--n-best", "1", "--timings"]
    done = process("ask", QUESTION, *options, ODQA_HOME=built["home"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "«" in done.stdout
    assert "characters" in done.stdout
    assert re.search(r"retrieve \S+ ms, read \S+ ms, (\d+) of \1 passages read", done.stdout)


def test_ask_prints_json(built: dict[str, str]) -> None:
    body = json.loads(ask(built, QUESTION, "--abstain", "never", "--json").stdout)
    assert body["question"] == QUESTION
    assert (body["index"], body["no_answer"]) == ("tiny", False)
    for answer in body["answers"]:
        text = TEXTS[int(answer["document_id"][1:])]
        assert text[answer["start"] : answer["end"]] == answer["text"]


def test_ask_says_no_answer_plainly(built: dict[str, str], reader_folder: Path, tmp_path: Path) -> None:
    strict = recipe(tmp_path, reader_folder, null_threshold=1000.0)
    done = odqa("ask", QUESTION, "--pipeline", strict, ODQA_HOME=built["home"])
    assert done.stdout.startswith("No answer")
    assert "Nearest passages:" in done.stdout


def test_a_file_of_questions_keeps_order_and_ids(built: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{number}", "question": f"what is the {word}?"} for number, word in enumerate(["engine", "rhine"])]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    done = ask(built, "--file", str(file), "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["q0", "q1"]


def test_questions_from_a_pipe(built: dict[str, str]) -> None:
    done = ask(built, "--json", stdin="what is oxygen?\n\nwho was rollo?\n")
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["what is oxygen?", "who was rollo?"]


def test_a_reader_that_closes_early_ends_the_program_quietly(built: dict[str, str]) -> None:
    command = f"{sys.executable} -m odqa ask --pipeline {built['recipe']} --json | head -c 1"
    questions = "what is oxygen?\n" * 70
    done = subprocess.run(
        ["bash", "-c", command], input=questions, capture_output=True, text=True, env=_environment(built), check=False
    )
    assert (done.stdout, done.stderr) == ("{", "")


def test_read_answers_from_one_context(built: dict[str, str]) -> None:
    options = ["--pipeline", built["recipe"], "--abstain", "never", "--json"]
    by_argument = json.loads(odqa("read", QUESTION, TEXTS[6], *options).stdout)
    by_pipe = json.loads(odqa("read", QUESTION, *options, stdin=TEXTS[6]).stdout)
    assert by_argument["answers"] == by_pipe["answers"]
    answer = by_argument["answers"][0]
    assert TEXTS[6][answer["start"] : answer["end"]] == answer["text"]


def test_looking_after_an_index(built: dict[str, str]) -> None:
    def index(*arguments: str) -> subprocess.CompletedProcess[str]:
        return odqa("index", *arguments, ODQA_HOME=built["home"])

    assert json.loads(index("list", "--json").stdout)[0]["passages"] == 8
    assert json.loads(index("info", "tiny", "--json").stdout)["documents"] == 8
    assert index("verify", "tiny").stdout == "tiny is sound.\n"
    assert index("rename", "tiny", "other").stdout == "tiny is now other.\n"
    refused = index("delete", "tiny", "--yes")
    assert refused.returncode == 1
    assert 'No index "tiny"' in refused.stderr
    assert "Known: other." in refused.stderr
    assert index("rename", "other", "tiny").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ask", ""], 1, "Error: The question is empty."),
        (["ask", "why " * 60], 1, "but at most"),
        (["ask", "who?", "--index", "nowhere"], 1, 'Error: No index "nowhere"'),
        (["ask", "who?", "--index", "../tiny"], 1, "can't name an index"),
        (["ask", "who?", "--top-k", "0"], 2, "0 is not in the range"),
        (["ask", "who?", "--abstain", "maybe"], 2, "'maybe' is not one of 'threshold', 'never'"),
        (["ask", "--file", "missing.jsonl"], 2, "missing.jsonl"),
    ],
)
def test_bad_questions_end_with_one_line(built: dict[str, str], arguments: list[str], code: int, message: str) -> None:
    done = odqa(*arguments, "--pipeline", built["recipe"], ODQA_HOME=built["home"])
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question": "who?"}\n{"question": \n', "line 2: not JSON"),
        (b'{"q": "who?"}\n', 'line 1: expected an object with a text "question"'),
        (b'{"question": " "}\n', "line 1: The question is empty"),
        (b'{"question": "wh\xff?"}\n', "is not UTF-8"),
    ],
)
def test_a_bad_file_of_questions_names_the_line(
    built: dict[str, str], tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "q.jsonl").write_bytes(content)
    done = ask(built, "--file", str(tmp_path / "q.jsonl"))
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("missing.jsonl", None, [], "missing.jsonl"),
        ("empty.jsonl", b"", [], "holds no text"),
        ("first.jsonl", b"{oops\n", [], "line 1"),
        ("blank.jsonl", b'{"text": ""}\n{"text": null}\n', [], "holds no text (2 empty documents)"),
        ("bad.jsonl", b'{"text": "x"}\n{oops\n', [], "line 2"),
        ("latin.txt", b"caf\xe9", [], "UTF-8"),
        ("rows.csv", b"key,body text\n1,hello\n", ["--column", "text=content"], "body text"),
        ("twice.jsonl", b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', [], '"a" stands twice'),
    ],
)
def test_a_bad_corpus_leaves_no_index(
    tmp_path: Path, embedder_folder: Path, name: str, content: bytes | None, options: list[str], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = odqa("index", "build", "bad", str(tmp_path / name), "--embedder", str(embedder_folder), *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(odqa("index", "list", "--json").stdout) == []


def test_recipes_are_listed_shown_and_copied(tmp_path: Path) -> None:
    assert "default" in odqa("pipeline", "list").stdout
    shown = odqa("pipeline", "show", "default").stdout
    target = tmp_path / "mine.toml"
    assert odqa("pipeline", "copy", "default", str(target)).returncode == 0
    assert target.read_text("utf-8") == shown
    again = odqa("pipeline", "copy", "default", str(target))
    assert (again.returncode, "exists" in again.stderr) == (1, True)


def test_doctor_says_what_is_missing(tmp_path: Path) -> None:
    done = odqa("doctor", ODQA_READER=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "faiss-cpu" in done.stdout
    assert "Problem: No model" in done.stderr


def _environment(built: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, "ODQA_HOME": built["home"]}


def test_a_small_output_that_nobody_reads_ends_quietly(built: dict[str, str]) -> None:
    command = f"{sys.executable} -m odqa index list | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=_environment(built), check=False)
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode in (0, 1)  # it may be done before


def test_answers_go_to_their_file_while_a_bar_is_shown(built: dict[str, str], tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "answers.txt"
    questions.write_text('{"question": "what is oxygen?"}')
    command = [sys.executable, "-m", "odqa", "ask", "--pipeline", built["recipe"], "--file", str(questions)]
    mine, theirs = pty.openpty()
    with answers.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=theirs, env=_environment(built), check=False)
    os.close(theirs)
    os.close(mine)
    assert done.returncode == 0
    assert "what is oxygen?" in answers.read_text()


def test_a_prompt_does_not_go_into_the_answers_file(built: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "odqa", "ask", "--pipeline", built["recipe"], "--json", "--abstain", "never"]
    mine, theirs = pty.openpty()
    with (tmp_path / "answers.json").open("w") as file:
        process = subprocess.Popen(command, stdin=theirs, stdout=file, stderr=theirs, env=_environment(built))
        os.write(mine, b"what is oxygen?\n\x04")
        assert process.wait(120) == 0
    os.close(theirs)
    os.close(mine)
    assert json.loads((tmp_path / "answers.json").read_text())["question"] == "what is oxygen?"


@pytest.mark.parametrize(
    "arguments", [["ask", "caf\udce9?"], ["read", "Who?", "caf\udce9"], ["read", "caf\udce9?", "x"]]
)
def test_text_that_is_not_utf_8_is_told(built: dict[str, str], arguments: list[str]) -> None:
    command = [sys.executable, "-m", "odqa", *arguments, "--pipeline", built["recipe"]]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(built), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The ")
    assert "is no valid text: character 4 is half of a surrogate pair" in done.stderr


def test_questions_from_a_pipe_that_are_not_utf_8_are_told(built: dict[str, str]) -> None:
    environment = {**_environment(built), "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "odqa", "ask", "--pipeline", built["recipe"]]
    done = subprocess.run(command, input=b"caf\xe9?\n", capture_output=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: The questions are not UTF-8")
