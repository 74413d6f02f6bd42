"""Embeddings equal sentence-transformers' own, on either path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from odqa.embedder import Embedder
from odqa.errors import ModelError
from tests.tiny import TEXTS

LONG = [*TEXTS, " ".join(TEXTS), "Rollo", TEXTS[0]]


def own(folder: Path, texts: list[str], role: str = "document") -> np.ndarray:
    model = SentenceTransformer(str(folder), device="cpu")
    encode = model.encode_document if role == "document" else model.encode_query
    return encode(texts, normalize_embeddings=True, show_progress_bar=False)


@pytest.fixture
def variant(embedder_folder: Path, tmp_path: Path):
    def make(name: str, **settings: object) -> Path:
        folder = shutil.copytree(embedder_folder, tmp_path / "variant")
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
        return folder

    return make


def test_vectors_are_those_of_sentence_transformers(embedder_folder: Path, embedder: Embedder) -> None:
    found = embedder.embed_passages(LONG)
    np.testing.assert_allclose(found, own(embedder_folder, LONG), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.array_equal(found[0], found[-1])
    assert embedder.max_tokens == 62


def test_first_token_pooling(variant) -> None:
    folder = variant("1_Pooling/config.json", pooling_mode="cls")
    np.testing.assert_allclose(Embedder(folder, device="cpu").embed_passages(LONG), own(folder, LONG), atol=1e-5)


def test_prompts_for_questions_and_documents(variant) -> None:
    prompts = {"query": "question: ", "document": "text: "}
    folder = variant("config_sentence_transformers.json", prompts=prompts)
    embedder = Embedder(folder, device="cpu")
    np.testing.assert_allclose(embedder.embed_passages(LONG), own(folder, LONG), atol=1e-5)
    np.testing.assert_allclose(embedder.embed_questions(LONG), own(folder, LONG, "query"), atol=1e-5)


def test_what_odqa_does_not_know_runs_on_sentence_transformers(variant) -> None:
    folder = variant("1_Pooling/config.json", pooling_mode="max")
    embedder = Embedder(folder, device="cpu")
    assert type(embedder._encoder).__name__ == "_Foreign"
    np.testing.assert_allclose(embedder.embed_passages(LONG), own(folder, LONG), atol=1e-5)
    assert embedder.max_tokens == 62


def test_a_sentence_is_the_mean_of_its_tokens_in_the_whole_passage(embedder_folder: Path, embedder: Embedder) -> None:
    text = "Rollo led the Normans. 1. They came from Denmark!\nWarsaw is in Poland"
    parts = ["Rollo led the Normans. ", "They came from Denmark!\n", "Warsaw is in Poland"]
    vectors, found = embedder.embed_sentences([text, "Rollo"])
    np.testing.assert_allclose(vectors, own(embedder_folder, [text, "Rollo"]), atol=1e-5)
    model = SentenceTransformer(str(embedder_folder), device="cpu")[0]
    tokens = model.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = tokens.pop("offset_mapping")[0].numpy()
    states = model.auto_model(**tokens).last_hidden_state[0].detach().numpy()
    for part, vector in zip(parts, found[0], strict=True):
        begin = text.index(part)
        inside = [begin <= first and last <= begin + len(part) and last > first for first, last in offsets]
        mean = states[inside].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(found[1], vectors[1:], atol=1e-6)


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_a_model_that_pools_otherwise_takes_a_passage_for_a_sentence(variant, mode: str) -> None:
    embedder = Embedder(variant("1_Pooling/config.json", pooling_mode=mode), device="cpu")
    vectors, found = embedder.embed_sentences(LONG)
    assert [part.tolist() for part in found] == [[vector.tolist()] for vector in vectors]


def test_nothing_to_embed_is_nothing(embedder: Embedder) -> None:
    assert embedder.embed_passages([]).shape == (0, embedder.dimension)
    assert embedder.embed_questions([]).shape == (0, embedder.dimension)
    assert embedder.embed_sentences([])[1] == []


def test_a_folder_that_is_no_embedder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[oops")
    with pytest.raises(ModelError, match="is not JSON"):
        Embedder(tmp_path, device="cpu")
