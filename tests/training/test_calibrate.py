"""Calibrating a pipeline from data to the file that it then uses; the reader's spans are made up, all else is real."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from odqa.cli import odqa
from odqa.errors import DataError
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.reader import Reader
from odqa.training.calibrate import calibrate
from odqa.types import Reading, Span
from tests.tiny import make_reader
from tests.training.tiny_bases import TOWNS, articles, write_data, write_splits

SPLITS = {
    "calibrate": ["Article 0", "Article 1", "Article 2", "Article 3"],
    "certify": ["Article 4", "Article 5", "Article 6"],
    "select": ["Article 7"],
}


def noise(*parts: str) -> float:
    """A number in -4..4 that hangs on the texts alone."""
    return zlib.crc32(" ".join(parts).encode()) % 8001 / 1000 - 4


def town(question: str, text: str) -> Reading:
    """The first town of a passage, surer where the question's name stands there and asks for a town."""
    place = next(place for place in range(len(text)) if text[place:].startswith(tuple(TOWNS)))
    name = next(name for name in TOWNS if text.startswith(name, place))
    known = text.startswith(question.split()[2]) and question.startswith("Where")
    margin = (3.0 if known else -3.0) + noise(question, text)
    return Reading((Span(place, place + len(name), margin),))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def read(self: Reader, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        return [town(*pair) for pair in pairs]

    monkeypatch.setattr(Reader, "read", read)
    folder = make_reader(tmp_path / "reader")
    path = tmp_path / "tiny.toml"
    path.write_text(
        'description = "tiny"\n[retriever]\ntop_k = 6\nrelevance_slope = 3.0\nrelevance_intercept = -4.0\n'
        f"[reader]\nmodel = {json.dumps(str(folder))}\nmax_length = 48\ndoc_stride = 12\nmax_answer_length = 6\n"
    )
    return path


def test_a_pipeline_is_calibrated_and_uses_it(recipe: Path, tmp_path: Path) -> None:
    data, splits = write_data(tmp_path / "data.json"), write_splits(tmp_path / "splits.json", **SPLITS)
    out = tmp_path / "reader" / "calibration.json"
    command = ["calibrate", "--pipeline", recipe, "--data", data, "--splits", splits, "--out", out]
    assert odqa.main([str(part) for part in command], standalone_mode=False) is None
    about = json.loads(out.read_text())["fitted_on"]
    assert about["questions"] == {"calibrate": 64, "certify": 48}
    assert (about["index"], about["passages"], about["top_k"]) == ("tiny-held-out", 64, 6)

    assert len(Index.open("tiny-held-out")) == 64
    pipeline = Pipeline.load(str(recipe), index="tiny-held-out")
    assert pipeline.calibration is not None
    assert pipeline.null_threshold == pipeline.calibration.null_threshold
    questions = [qa for article in articles()[4:7] for part in article["paragraphs"] for qa in part["qas"]]
    results = pipeline.answer_batch([qa["question"] for qa in questions])
    # What was asked for and never fitted on: far more right than answering nothing.
    right = [
        (result.answers[0].text if result.answers else "") == (qa["answers"][0]["text"] if qa["answers"] else "")
        for result, qa in zip(results, questions, strict=True)
    ]
    assert sum(right) / len(right) > 0.6
    assert sum(result.passages_read for result in results) < 6 * len(results)


def test_without_splits_half_of_the_articles_certify(recipe: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.json")
    first = calibrate(str(recipe), data)
    assert first.questions == (64, 64)
    assert calibrate(str(recipe), data, index="tiny-held-out") == first


def test_its_index_is_kept_as_long_as_it_is_of_the_same_documents(recipe: Path, tmp_path: Path) -> None:
    data, splits = write_data(tmp_path / "data.json"), write_splits(tmp_path / "splits.json", **SPLITS)
    calibrate(str(recipe), data, splits=splits)
    first = Index.open("tiny-held-out").generation
    calibrate(str(recipe), data, splits=splits)
    assert Index.open("tiny-held-out").generation == first
    calibrate(str(recipe), data, splits=write_splits(tmp_path / "fewer.json", **SPLITS | {"select": []}))
    assert len(Index.open("tiny-held-out")) == 56


def test_too_little_data_is_refused(recipe: Path, tmp_path: Path) -> None:
    few = write_data(tmp_path / "few.json", articles(3))
    with pytest.raises(DataError, match="about 3 articles: too few"):
        calibrate(str(recipe), few)
    elsewhere = write_splits(tmp_path / "splits.json", calibrate=["Article 0"], select=["Article 1"], certify=["Rome"])
    with pytest.raises(DataError, match='no question of the articles named "certify"'):
        calibrate(str(recipe), few, splits=elsewhere)
    content = articles()
    for article in content:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = paragraph["qas"][:1]
    answerable = write_data(tmp_path / "answerable.json", content)
    with pytest.raises(DataError, match='no unanswerable question of the articles named "calibrate"'):
        calibrate(str(recipe), answerable)
