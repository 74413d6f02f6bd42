"""The wheel holds what it must, and nothing that was built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from odqa import recipes

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return ZipFile(path)


def test_recipes_cards_and_the_corpus_are_in_the_wheel(wheel: ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"odqa/pipelines/{name}.toml" for name in recipes.names("pipelines")} <= names
    assert {f"odqa/indexes/{name}.toml" for name in recipes.names("indexes")} <= names
    assert {"odqa/bundled/squad2-dev.jsonl.gz", "odqa/bundled/README.md", "odqa/py.typed"} <= names


def test_every_file_of_the_package_is_in_the_wheel(wheel: ZipFile) -> None:
    done = subprocess.run(["git", "ls-files", "-z", "odqa"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    kept = {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}
    assert {"odqa/service/page/ask.js", "odqa/evaluation/templates/pipeline.html"} <= kept
    assert kept <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else_and_stays_small(wheel: ZipFile) -> None:
    assert all(name.startswith(("odqa/", "odqa-")) for name in wheel.namelist())
    assert not any(name.endswith((".arrow", ".faiss", ".pyc")) for name in wheel.namelist())
    assert sum(info.compress_size for info in wheel.infolist()) < 100_000_000


def test_the_readme_names_every_command() -> None:
    from odqa.cli import odqa

    readme = (ROOT / "README.md").read_text("utf-8")
    for name, command in odqa.commands.items():
        inner = getattr(command, "commands", {})
        for words in [f"odqa {name} {part}" for part in inner] or [f"odqa {name}"]:
            assert words in readme, words


def test_the_readme_s_card_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "card.toml").write_text(text)
    assert recipes.load_card(str(tmp_path / "card.toml")).passages.max_tokens == 200


def test_the_readme_names_only_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", (ROOT / "README.md").read_text("utf-8")))
    assert named <= targets


def test_the_top_level_holds_what_belongs_there() -> None:
    done = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    shown = {name for name in done.stdout.split() if not name.startswith(".")}
    assert shown <= {"odqa", "indexes", "pipelines", "tests", "pyproject.toml", "README.md", "Makefile"}
