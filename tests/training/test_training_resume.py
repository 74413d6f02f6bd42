from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from odqa.errors import ConfigError
from odqa.training.reader import train_reader
from tests.training import tiny_pairs
from tests.training.tiny_bases import articles, make_bert, write_data, write_recipe, write_splits

ROOT = Path(__file__).parents[2]


def recipe(folder: Path, **changes: object) -> Path:
    """4 steps an epoch, 2 batches a step and one in the last, dropout, an average: all that must go on."""
    options = {"batch_size": 14, "accumulation": 2, "average_decay": 0.9, "layer_decay": 0.9, "warmup_share": 0.2}
    return write_recipe(folder / "tiny.toml", folder / "base", **options | changes)


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


READER_FILES = ("model/reader.json", "checkpoints/checkpoint-8/average.safetensors")
RETRIEVER_FILES = ("model/metrics.json", "negatives.npy")


def bytes_of(out: Path, *more: str) -> dict[str, bytes]:
    names = ["model/model.safetensors", "checkpoints/checkpoint-8/model.safetensors", *more]
    return {name: (out / name).read_bytes() for name in names}


def test_a_reader_killed_at_every_step_has_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    make_bert(tmp_path / "base")
    write_data(tmp_path / "train.json")
    check_killed_run("reader", recipe(tmp_path), tmp_path, READER_FILES)


def test_a_retriever_killed_at_every_step_has_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    """4 steps an epoch, dropout, negatives that the model itself found."""
    base = tiny_pairs.make_embedder(tmp_path / "base")
    write_data(tmp_path / "train.json", tiny_pairs.articles())
    options = {"epochs": 2, "batch_size": 24, "negatives_from": "dense", "learning_rate": 5e-4}
    pipeline = tiny_pairs.write_recipe(tmp_path / "tiny.toml", base, **options)
    check_killed_run("retriever", pipeline, tmp_path, RETRIEVER_FILES)
    assert (np.load(tmp_path / "disturbed/negatives.npy") >= 0).all()


def check_killed_run(part: str, pipeline: Path, tmp_path: Path, files: Sequence[str]) -> None:
    data, splits = tmp_path / "train.json", write_splits(tmp_path / "splits.json")
    command = [sys.executable, "-m", "tests.training.killed_run", part, pipeline, data, splits, tmp_path]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert bytes_of(disturbed, *files) == bytes_of(undisturbed, *files)
    assert [row["step"] for row in rows(disturbed)] == [row["step"] for row in rows(undisturbed)]
    losses = [[row["loss"] for row in rows(out) if "loss" in row] for out in (undisturbed, disturbed)]
    assert losses[0] == losses[1]
    assert (undisturbed / "model/README.md").read_text().replace("undisturbed", "disturbed") == (
        disturbed / "model/README.md"
    ).read_text()
    assert not list(disturbed.rglob("*draft*"))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder with a finished reader of one short run."""
    make_bert(tmp_path / "base")
    data, splits = write_data(tmp_path / "train.json"), write_splits(tmp_path / "splits.json")
    train_reader(str(recipe(tmp_path, epochs=0.5)), [data], tmp_path / "out", splits=splits)
    return tmp_path


def resumed(folder: Path, *, resume: bool = True, **changes: object) -> object:
    pipeline = str(recipe(folder, **{"epochs": 0.5} | changes))
    splits = folder / "splits.json"
    return train_reader(pipeline, [folder / "train.json"], folder / "out", splits=splits, resume=resume)


def test_a_finished_reader_is_kept(begun: Path) -> None:
    before = (begun / "out/model/model.safetensors").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"out holds a finished reader\. Resume it, or give another folder"):
        resumed(begun, resume=False)
    assert resumed(begun).folder == begun / "out/model"
    assert (begun / "out/model/model.safetensors").stat().st_mtime_ns == before


def test_a_folder_belongs_to_its_recipe_base_data_and_splits(begun: Path) -> None:
    with pytest.raises(ConfigError, match=r"its recipe had learning_rate = 0\.002, now learning_rate = 0\.003"):
        resumed(begun, learning_rate=3e-3)
    write_splits(begun / "splits.json", select=["Article 5"], calibrate=["Article 7"])
    with pytest.raises(ConfigError, match="belongs to another run: its splits had"):
        resumed(begun)
    write_splits(begun / "splits.json")
    write_data(begun / "train.json", articles(rows=7))
    with pytest.raises(ConfigError, match="its data had file 1 = '"):
        resumed(begun)
    write_data(begun / "train.json")
    (begun / "base/config.json").write_text((begun / "base/config.json").read_text() + " ")
    with pytest.raises(ConfigError, match="its base had"):
        resumed(begun)


def test_an_unfinished_run_is_resumed_or_left_alone(begun: Path) -> None:
    (begun / "out/model").rename(begun / "gone")
    with pytest.raises(ConfigError, match="out holds an unfinished run"):
        resumed(begun, resume=False)
    resumed(begun)
    assert (begun / "out/model/model.safetensors").read_bytes() == (begun / "gone/model.safetensors").read_bytes()


def test_a_folder_of_something_else_is_left_alone(begun: Path) -> None:
    (begun / "out/run.json").unlink()
    with pytest.raises(ConfigError, match=r"out holds other files \(checkpoints\)\. Give an empty or a new folder"):
        resumed(begun)


def test_a_damaged_record_is_named(begun: Path) -> None:
    (begun / "out/run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json is damaged"):
        resumed(begun)
