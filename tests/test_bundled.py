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
    found, none = pipeline.answer_batch(["In what country is Normandy located?", "What is France a region of?"])
    best = found.answers[0]
    assert (best.text, best.document_id, best.start, best.end) == ("France", "Normans-0", 159, 165)
    assert (none.no_answer, none.answers) == (True, ())


def test_the_reader_is_small_and_says_where_it_comes_from() -> None:
    folder = BUNDLED / "models" / "minilm-l6-squad2"
    assert (folder / "model.safetensors").stat().st_size < 50e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("odqa train reader", "select", "SHA-256"):
        assert part in card
    assert "minilm-l6-squad2" in (BUNDLED / "README.md").read_text(encoding="utf-8")
