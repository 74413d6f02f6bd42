from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from odqa import progress, recipes
from odqa.embedder import Embedder
from odqa.errors import ConfigError, ModelError
from odqa.evaluation import dataset
from odqa.evaluation.retriever import evaluate_retriever
from odqa.index import Index
from odqa.models import file_sha256
from odqa.recipes import Card, Mode, PassageCard, load_pipeline
from odqa.training.retrieval import Haystack, mrr, relevance
from odqa.training.retriever import TrainedRetriever, train_retriever
from odqa.types import Document
from tests.cli.helpers import odqa
from tests.training.tiny_bases import write_data, write_splits
from tests.training.tiny_pairs import articles, make_embedder, make_encoder, write_recipe

SHORT = {"epochs": 0.3, "evaluations": 1, "hard_negatives": 0}


def train(folder: Path, base: Path | str, out: str = "out", **changes: Any) -> TrainedRetriever:
    """Train in `folder` with its data, which is written where it is missing."""
    names = ("half", "resume", "save_every", "log_every")
    options = {name: changes.pop(name) for name in names if name in changes}
    data = folder / "train.json"
    if not data.exists():
        write_data(data, articles())
    splits = write_splits(folder / "splits.json", select=["Article 6"], calibrate=["Article 7"], certify=["Article 5"])
    pipeline = write_recipe(folder / "tiny.toml", base, **changes)
    return train_retriever(str(pipeline), [data], folder / out, splits=splits, **options)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(trained: TrainedRetriever) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(trained.folder / "model.safetensors")
    return found


def words(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return next(one for name, one in found.items() if "word_embeddings" in name)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_embedder(tmp_path_factory.mktemp("base"))


@dataclass(frozen=True, slots=True)
class Learnt:
    folder: Path
    trained: TrainedRetriever

    def questions(self, *titles: str) -> list[dataset.Question]:
        return [one for one in dataset.load(self.folder / "train.json") if one.title in titles]


@pytest.fixture(scope="module")
def learnt(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    folder = tmp_path_factory.mktemp("learnt")
    options = {"epochs": 20, "learning_rate": 5e-4, "hard_negatives": 0, "dropout": 0.0, "evaluations": 4}
    return Learnt(folder, train(folder, base, **options))


def test_it_learns_what_holds_for_articles_it_never_saw(learnt: Learnt) -> None:
    losses = [row["loss"] for row in rows(learnt.folder / "out") if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    trained = learnt.trained
    for after, before in ((trained.select, trained.untrained_select), (trained.calibrate, trained.untrained_calibrate)):
        assert after["dense_mrr@100"] > before["dense_mrr@100"] + 0.15
    assert trained.select["dense_recall@1"] >= trained.untrained_select["dense_recall@1"] + 0.2
    assert trained.paragraphs == 24


def test_the_folder_opens_here_and_in_sentence_transformers_alike(learnt: Learnt) -> None:
    ours, theirs = Embedder(learnt.trained.folder), SentenceTransformer(str(learnt.trained.folder), device="cpu")
    questions = [one.question for one in learnt.questions("Article 6")]
    contexts = [one.context for one in learnt.questions("Article 6")]
    assert np.allclose(ours.embed_questions(questions), theirs.encode_query(questions), atol=1e-5)
    assert np.allclose(ours.embed_passages(contexts), theirs.encode_document(contexts), atol=1e-5)
    assert theirs.max_seq_length == 24 and theirs.prompts["query"] == "what "
    kinds = [
        module["type"].rsplit(".", 1)[-1] for module in json.loads((learnt.trained.folder / "modules.json").read_text())
    ]
    assert kinds == ["Transformer", "Pooling", "Normalize"]


@pytest.mark.parametrize("sentences", [True, False])
def test_figures_are_those_of_an_index_of_all_held_out_paragraphs(sentences: bool, learnt: Learnt) -> None:
    embedder = Embedder(learnt.trained.folder, device="cpu")
    held = {one.document_id: one.context for one in learnt.questions("Article 5", "Article 6", "Article 7")}
    terms = recipes.load_card("squad2-dev").terms
    card = Card(terms=terms, passages=PassageCard(overlap=4), sentences=sentences)
    Index.build("held", [Document(name, text) for name, text in held.items()], card=card, embedder=embedder)
    recipe = load_pipeline(str(learnt.folder / "tiny.toml")).retriever
    haystack = Haystack(learnt.questions("Article 5", "Article 6", "Article 7"), recipe, card)
    for title, found in (("Article 6", learnt.trained.select), ("Article 7", learnt.trained.calibrate)):
        figures = haystack.embedded(embedder).figures(learnt.questions(title))
        assert not sentences or figures == pytest.approx(found, abs=1e-6)
        report = evaluate_retriever(Index.open("held"), recipe, learnt.questions(title), embedder=embedder)
        for name, value in figures.items():
            side, measure = name.split("_")
            assert value == pytest.approx(report.scores[side]["all"][measure].mean, abs=0.02), name


def test_the_best_step_is_written_and_the_card_says_how(learnt: Learnt) -> None:
    trained, out = learnt.trained, learnt.folder / "out"
    scored = [row for row in rows(out) if "eval_fused_mrr@100" in row]
    assert [row["step"] for row in scored] == [25, 50, 75, 100]
    best = max(scored, key=lambda row: row["eval_fused_mrr@100"])
    assert (trained.step, trained.select["fused_mrr@100"]) == (best["step"], best["eval_fused_mrr@100"])
    card = (trained.folder / "README.md").read_text()
    assert file_sha256(learnt.folder / "train.json") in card and file_sha256(learnt.folder / "splits.json") in card
    assert (learnt.folder / "tiny.toml").read_text().strip() in card
    assert (
        "seed 42" in card
        and "sentence-transformers " in card
        and f"after step {trained.step}." in card.replace("\n", " ")
    )
    assert f"{trained.select['fused_mrr@100']:.4f}" in card and "among the 24 paragraphs" in card
    assert "`odqa train retriever --pipeline tiny.toml --data train.json --out out --splits splits.json`" in card


def test_weights_for_a_recipe_are_fitted_on_calibrate(learnt: Learnt) -> None:
    fitted, asked = learnt.trained.retriever, learnt.questions("Article 7")
    whole = load_pipeline(str(learnt.folder / "tiny.toml")).retriever
    card = Card(terms=recipes.load_card("squad2-dev").terms)
    embedder = Embedder(learnt.trained.folder, device="cpu")
    held = learnt.questions("Article 5", "Article 6", "Article 7")

    def reached(weight: float) -> float:
        changed = whole.model_copy(update={"dense_weight": 1.0, "sparse_weight": weight})
        return Haystack(held, changed, card).embedded(embedder).figures(asked)["fused_mrr@100"]

    best = reached(fitted["sparse_weight"])
    assert all(best >= reached(weight) for weight in (0.0, 0.25, 0.5, 1.0, 2.0, 3.0))
    assert fitted["dense_weight"] == 1.0 and fitted["relevance_slope"] > 0 > fitted["relevance_intercept"]
    table = "\n".join(f"{name} = {value}" for name, value in fitted.items())
    assert f"```toml\n{table}\n```" in (learnt.trained.folder / "README.md").read_text()
    dense = Haystack(held, whole.model_copy(update={"mode": Mode.DENSE}), card).embedded(embedder).fitted(asked)
    assert dense["sparse_weight"] == 0.0


def test_reciprocal_ranks_and_relevance_worked_by_hand() -> None:
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 0.0, 0.0]])
    gold = np.array([0, 1, 1])
    assert mrr(scores, gold) == pytest.approx((1 + 1 / 3 + 1) / 3)
    rng = np.random.default_rng(0)
    found = rng.random(40_000) < 1 / (1 + np.exp(-(4 * (drawn := rng.random(40_000)) - 3)))
    slope, intercept = relevance(np.stack([drawn, np.full(40_000, -9.0)], axis=1), np.where(found, 0, 1), top_k=1)
    assert (slope, intercept) == pytest.approx((4, -3), abs=0.15)
    assert relevance(scores[:1], gold[:1], top_k=1) == (0.0, 0.0)  # nothing to tell apart


def test_what_held_out_articles_say_moves_no_weight(base: Path, tmp_path: Path) -> None:
    options = SHORT | {"hard_negatives": 1, "negatives_from": "bm25"}
    first = train(tmp_path, base, **options)
    content = articles()
    for one in (part for article in content[5:] for part in article["paragraphs"]):
        one["context"] += " Yet nobody wants it."
    write_data(tmp_path / "train.json", content)
    second = train(tmp_path, base, "again", **options)
    ours, theirs = weights(first), weights(second)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    trained_on = json.loads((tmp_path / "out/run.json").read_text())["plan"]
    assert trained_on["steps_per_epoch"] == 5  # 80 questions of 5 articles, 16 at a time


def test_options_of_the_recipe(base: Path, tmp_path: Path) -> None:
    before = words(load_file(base / "model.safetensors"))
    frozen = train(tmp_path, base, **SHORT, freeze_embeddings=True, dropout=0.0, half=True, weight_decay=0.1)
    moved = train(tmp_path, base, "moved", **SHORT, max_length=6, backtranslated_share=0.0)
    assert torch.equal(words(weights(frozen)), before.half()) and not torch.equal(words(weights(moved)), before)
    assert {tensor.dtype for tensor in weights(frozen).values()} == {torch.float16}
    assert "half precision" in (frozen.folder / "README.md").read_text()
    assert json.loads((frozen.folder / "config.json").read_text())["hidden_dropout_prob"] == 0.1
    assert SentenceTransformer(str(moved.folder), device="cpu").max_seq_length == 24
    opened = Embedder(frozen.folder, device="cpu").embed_questions(["Where is the crimson mug?"])
    assert np.linalg.norm(opened) == pytest.approx(1, abs=1e-3)


def test_a_share_of_the_weights_is_the_base_models(base: Path, tmp_path: Path) -> None:
    before = load_file(base / "model.safetensors")
    trained, mixed = (weights(train(tmp_path, base, str(share), **SHORT, base_share=share)) for share in (0.0, 0.25))
    assert not torch.equal(words(trained), words(before))
    for name, tensor in mixed.items():
        assert torch.allclose(tensor, 0.75 * trained[name] + 0.25 * before[name], atol=1e-6), name


def test_a_bare_transformer_gets_mean_pooling(tmp_path: Path) -> None:
    trained = train(tmp_path, make_encoder(tmp_path / "bare"), **SHORT)
    kinds = [module["type"] for module in json.loads((trained.folder / "modules.json").read_text())]
    assert [kind.rsplit(".", 1)[-1] for kind in kinds][:2] == ["Transformer", "Pooling"]
    assert Embedder(trained.folder, device="cpu").embed_questions(["Where?"]).shape == (1, 32)


def test_patience_ends_a_training_and_its_end_is_final(base: Path, tmp_path: Path) -> None:
    options = {"epochs": 10, "learning_rate": 1e-9, "evaluations": 20, "patience": 2, "hard_negatives": 0}
    trained = train(tmp_path, base, **options)
    assert [row["step"] for row in rows(tmp_path / "out") if "eval_fused_mrr@100" in row] == [3, 6, 9]
    (tmp_path / "out/model").rename(tmp_path / "before")
    assert train(tmp_path, base, resume=True, **options) == trained
    with pytest.raises(ConfigError, match=r"out holds a finished retriever\. Resume it, or give another folder"):
        train(tmp_path, base, **options)
    with pytest.raises(ConfigError, match=r"its recipe had scale = 20\.0, now scale = 10\.0"):
        train(tmp_path, base, resume=True, **options, scale=10.0)


def test_a_training_that_diverges_says_so(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"diverged: at step \d+ the loss is nan.* Lower learning_rate \(1e\+30\)"):
        train(tmp_path, base, learning_rate=1e30, warmup_share=0.0, hard_negatives=0, log_every=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16"}, 'precision = "fp16" needs a GPU'),
        ({"max_length": 25}, r"reads 24 tokens, but the recipe asks for 25\. Lower max_length"),
        ({"mode": "sparse"}, r'searches by terms alone \(mode = "sparse"\)'),
        ({"batch_size": 1}, "batch_size"),
        ({"negatives_from": "luck"}, "negatives_from"),
        ({"hard_negative": 1}, 'hard_negatives"'),
    ],
)
def test_wrong_recipes_are_refused_before_anything_is_written(
    changes: dict[str, Any], message: str, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, base, **changes)
    assert not (tmp_path / "out").exists()


def test_what_can_not_be_trained_at_all(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match='No model folder ".*nowhere"'):
        train(tmp_path, tmp_path / "nowhere")
    (tmp_path / "tiny.toml").write_text((tmp_path / "tiny.toml").read_text().partition("[retriever_training]")[0])
    with pytest.raises(ConfigError, match=r"tiny.toml\" has no \[retriever_training\] table"):
        train_retriever(str(tmp_path / "tiny.toml"), [tmp_path / "train.json"], tmp_path / "out")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="trained by one process, but a launcher started 2"):
        train(tmp_path, base)


def test_the_command_says_what_came_out_and_the_library_nothing(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, base, **SHORT)
    assert capfd.readouterr() == ("", "")
    command = ["--pipeline", "tiny.toml", "--data", "train.json", "--splits", "splits.json", "--out", "seen"]
    paths = [str(tmp_path / part) if "." in part or part == "seen" else part for part in command]
    done = odqa("train", "retriever", *paths)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"Trained {tmp_path / 'seen/model'}: select fused MRR 0.")
    with progress.bars():
        train(tmp_path, base, out="bars", **SHORT)
    seen = capfd.readouterr()
    assert seen.out == "" and seen.err != ""
