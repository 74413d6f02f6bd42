"""The models and the paragraphs that are bundled: what the first minute shows."""

from __future__ import annotations

import gzip
import json

import pytest

from odqa import config, recipes
from odqa.index import Index
from odqa.pipeline import Pipeline
from odqa.types import Document

BUNDLED = config.PACKAGE / "bundled"


@pytest.fixture
def normans() -> list[Document]:
    with gzip.open(BUNDLED / "squad2-dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Document(row["id"], row["text"], row["title"]) for row in rows if row["title"] == "Normans"]


def test_the_recipe_default_answers_and_abstains(normans: list[Document]) -> None:
    Index.build("normans", normans, card=recipes.load_card("squad2-dev"))
    pipeline = Pipeline.load(index="normans")
    assert pipeline.calibration is not None and pipeline.calibration.threshold_of == "probabilities"
    found, none = pipeline.answer_batch(["In what country is Normandy located?", "What is France a region of?"])
    best = found.answers[0]
    assert (best.text, best.document_id, best.start, best.end) == ("France", "Normans-0", 159, 165)
    assert (none.no_answer, none.answers) == (True, ())


@pytest.mark.parametrize(("name", "command"), [("minilm-l6-squad2", "reader"), ("minilm-l6-retriever", "retriever")])
def test_models_are_small_and_say_where_they_come_from(name: str, command: str) -> None:
    folder = BUNDLED / "models" / name
    assert (folder / "model.safetensors").stat().st_size < 50e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in (f"odqa train {command}", "select", "SHA-256", "CC BY-SA 4.0"):
        assert part in card
    assert name in (BUNDLED / "README.md").read_text(encoding="utf-8")
