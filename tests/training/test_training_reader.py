from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2Model

from odqa import progress
from odqa.errors import ConfigError, DataError, ModelError
from odqa.evaluation import dataset, squad
from odqa.models import file_sha256
from odqa.reader import Reader
from odqa.reader.windows import load_tokenizer
from odqa.recipes import ReaderRecipe
from odqa.training.card import TrainedReader, read_reader_file
from odqa.training.reader import train_reader
from tests.training.tiny_bases import (
    BASES,
    SIZE,
    articles,
    make_bert,
    make_spanbert,
    word_piece,
    write_data,
    write_recipe,
    write_splits,
)

WINDOW = {"max_length": 48, "doc_stride": 12, "max_answer_length": 6}
ASKED = ("Where does Hanna live?", "Hanna lives in Dublin. Anna once saw Oslo.")


def train(folder: Path, base: Path | str, out: str = "out", **changes: Any) -> TrainedReader:
    """Train in `folder` with its data and splits, which are written where they are missing."""
    names = ("half", "resume", "save_every", "log_every")
    options = {name: changes.pop(name) for name in names if name in changes}
    data, splits = folder / "train.json", folder / "splits.json"
    if not data.exists():
        write_data(data)
    write_splits(splits)
    pipeline = write_recipe(folder / "tiny.toml", base, **changes)
    return train_reader(str(pipeline), [data], folder / out, splits=splits, **options)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def opened(trained: TrainedReader) -> Reader:
    recipe = ReaderRecipe(model=str(trained.folder), null_threshold=trained.null_threshold, **WINDOW)
    return Reader(recipe, device="cpu")


@pytest.mark.parametrize("architecture", BASES)
def test_each_architecture_learns_saves_loads_answers_and_resumes(architecture: str, tmp_path: Path) -> None:
    base = BASES[architecture](tmp_path / architecture)
    trained = train(tmp_path, base, epochs=8)
    losses = [row["loss"] for row in rows(tmp_path / "out") if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert trained.calibrate["f1"] >= 75 and trained.calibrate["HasAns_f1"] >= 60
    reader = opened(trained)
    assert [answer.text for answer in reader.answer(*ASKED).answers][:1] == ["Dublin"]
    assert reader.answer("What does Hanna eat?", ASKED[1]).no_answer
    (tmp_path / "out/model").rename(tmp_path / "before")
    for step in (step for step in (tmp_path / "out/checkpoints").iterdir() if not step.name.endswith("-48")):
        step.rename(tmp_path / step.name)
    resumed = train(tmp_path, base, epochs=8, resume=True)
    assert (resumed.folder / "model.safetensors").read_bytes() == (tmp_path / "before/model.safetensors").read_bytes()
    assert resumed == trained


@pytest.mark.parametrize(
    ("architecture", "lowercase", "text"),
    [("spanbert", False, "Anna lives in Oslo."), ("scibert", True, "anna lives in oslo.")],
)
def test_old_checkpoints_are_converted_and_keep_their_case(
    architecture: str, lowercase: bool, text: str, tmp_path: Path
) -> None:
    base = BASES[architecture](tmp_path / architecture)
    trained = train(tmp_path, base, epochs=0.1)
    vocabulary = (base / "vocab.txt").read_text().split()
    tokenizer = load_tokenizer(trained.folder)
    assert sorted(tokenizer.get_vocab()) == sorted(vocabulary)
    assert tokenizer.decode(tokenizer.encode("Anna lives in Oslo.").ids).replace(" .", ".") == text
    assert json.loads((trained.folder / "tokenizer_config.json").read_text())["do_lower_case"] is lowercase
    old = torch.load(base / "pytorch_model.bin", weights_only=True)
    new = load_file(trained.folder / "model.safetensors")
    name = "bert.embeddings.LayerNorm."
    assert torch.allclose(new[f"{name}weight"], old[f"{name}gamma"], atol=0.02)
    assert torch.allclose(
        new["bert.embeddings.word_embeddings.weight"], old["bert.embeddings.word_embeddings.weight"], atol=0.02
    )
    assert not list(base.glob("*.safetensors"))


def test_the_model_folder_is_a_transformers_model_that_neither_pads_nor_truncates(tmp_path: Path) -> None:
    trained = train(tmp_path, make_bert(tmp_path / "base"), epochs=0.1)
    config = json.loads((trained.folder / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == (["BertForQuestionAnswering"], "bert")
    ours = load_tokenizer(trained.folder)
    assert ours.padding is None and ours.truncation is None
    theirs = AutoTokenizer.from_pretrained(trained.folder)
    found = theirs(*ASKED)
    encoding = ours.encode(*ASKED)
    assert (found["input_ids"], theirs.pad_token, theirs.model_max_length) == (encoding.ids, "[PAD]", 64)


def test_figures_are_those_of_the_official_script_through_the_written_reader(tmp_path: Path) -> None:
    trained = train(tmp_path, make_bert(tmp_path / "base"), epochs=1)
    reader = opened(trained)
    for title, figures in (("Article 6", trained.select), ("Article 7", trained.calibrate)):
        questions = [one for one in dataset.load(tmp_path / "train.json") if one.title == title]
        answers = [reader.answer(one.question, one.context).answers for one in questions]
        predictions = {one.id: found[0].text if found else "" for one, found in zip(questions, answers, strict=True)}
        official = squad.evaluate(questions, predictions)
        assert {name: figures[name] for name in official} == official
    assert read_reader_file(trained.folder) == trained
    reader_file = json.loads((trained.folder / "reader.json").read_text())
    assert {name: reader_file[name] for name in WINDOW} == WINDOW
    assert (reader_file["tuned_on"], reader_file["null_threshold"]) == ("calibrate", trained.null_threshold)


def test_the_log_and_the_card_say_what_happened(tmp_path: Path) -> None:
    trained = train(tmp_path, make_bert(tmp_path / "base"), epochs=1, log_every=4, warmup_share=0.25)
    found = rows(tmp_path / "out")
    assert [(row["step"], "loss" in row) for row in found] == [
        (4, True),
        (6, False),
        (8, True),
        (12, True),
        (12, False),
    ]
    assert found[0]["learning_rate"] == pytest.approx(2e-3) and found[2]["learning_rate"] < 2e-3
    assert {"seconds", "examples_per_second", "grad_norm", "epoch"} <= set(found[0])
    assert {"eval_f1", "eval_exact", "eval_f1_at_zero", "seconds"} <= set(found[1])
    best = max((row for row in found if "eval_f1" in row), key=lambda row: row["eval_f1"])
    assert trained.step == best["step"]
    card = (trained.folder / "README.md").read_text()
    assert file_sha256(tmp_path / "train.json") in card and file_sha256(tmp_path / "splits.json") in card
    assert (tmp_path / "tiny.toml").read_text().strip() in card
    assert "seed 42" in card and f"torch {torch.__version__}" in card and f"after step {trained.step}." in card
    assert f"| f1 | {trained.select['f1']:.2f} | {trained.calibrate['f1']:.2f} |" in card
    command = "odqa train reader --pipeline tiny.toml --data train.json --out out --splits splits.json"
    assert f"`{command}`" in card


def test_a_trained_reader_learns_on_and_its_card_tells_both_trainings(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    first = train(tmp_path, base, epochs=1)
    pipeline = write_recipe(tmp_path / "still.toml", base, epochs=0.5, learning_rate=1e-12)
    data, splits = tmp_path / "train.json", tmp_path / "splits.json"
    options = {"splits": splits, "base": str(first.folder), "seed": 7}
    second = train_reader(str(pipeline), [data], tmp_path / "more", **options)
    before, after = (load_file(one.folder / "model.safetensors") for one in (first, second))
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.items())
    card = (second.folder / "README.md").read_text()
    command = "odqa train reader --pipeline still.toml --data train.json --base out/model --seed 7 --out more"
    assert command in card and "seed 7;" in card and "trained from `out/model`" in card
    assert f"\nbase_model: {'/'.join(base.parts[-2:])}\n" in card
    told = card.partition("## Training of its base")[2]
    assert "--pipeline tiny.toml" in told and (tmp_path / "tiny.toml").read_text().strip() in told
    with pytest.raises(ConfigError, match="recipe had seed = 7, now seed = 42"):
        train_reader(str(pipeline), [data], tmp_path / "more", resume=True, **options | {"seed": None})


def test_nothing_is_said_unless_bars_are_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = make_bert(tmp_path / "base")
    capfd.readouterr()
    train(tmp_path, base, epochs=0.2)
    assert capfd.readouterr() == ("", "")
    with progress.bars():
        train(tmp_path, base, out="seen", epochs=0.2)
    seen = capfd.readouterr()
    assert seen.out == "" and seen.err != ""


def test_half_precision_weights(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    trained = train(tmp_path, base, epochs=0.2, half=True)
    assert {tensor.dtype for tensor in load_file(trained.folder / "model.safetensors").values()} == {torch.float16}
    assert json.loads((trained.folder / "config.json").read_text())["dtype"] == "float16"
    assert "half precision" in (trained.folder / "README.md").read_text()
    assert opened(trained).read([ASKED])[0].spans


def weights(folder: Path, part: str) -> torch.Tensor:
    return next(one for name, one in load_file(folder / "model.safetensors").items() if part in name)


def test_frozen_layers_stay_as_they_are(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    frozen = train(tmp_path, base, epochs=0.2, freeze_embeddings=True, freeze_layers=1, weight_decay=0.1)
    for part, stays in (("word_embeddings", True), ("layer.0.output.dense.weight", True), ("layer.1.output", False)):
        assert torch.equal(weights(frozen.folder, part), weights(base, part)) is stays
    with pytest.raises(ConfigError, match=r"freeze_layers is 3, but .*base has 2 layers"):
        train(tmp_path, base, "many", epochs=0.2, freeze_layers=3)


def test_frozen_embeddings_stay_as_they_are(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    frozen = train(tmp_path, base, epochs=0.2, freeze_embeddings=True, weight_decay=0.1)
    moved = train(tmp_path, base, "moved", epochs=0.2, weight_decay=0.1)
    assert torch.equal(weights(frozen.folder, "word_embeddings"), weights(base, "word_embeddings"))
    assert not torch.equal(weights(moved.folder, "word_embeddings"), weights(base, "word_embeddings"))


def test_the_average_is_what_is_written(tmp_path: Path) -> None:
    trained = train(tmp_path, make_bert(tmp_path / "base"), epochs=0.5, average_decay=0.5, evaluations=1)
    checkpoint = tmp_path / f"out/checkpoints/checkpoint-{trained.step}"
    written, average = load_file(trained.folder / "model.safetensors"), load_file(checkpoint / "average.safetensors")
    assert all(torch.equal(written[name], average[name]) for name in average)
    assert any(not torch.equal(one, average[name]) for name, one in load_file(checkpoint / "model.safetensors").items())


def test_a_share_of_the_weights_is_that_of_the_reader_it_began_from(tmp_path: Path) -> None:
    untrained = make_bert(tmp_path / "base")
    first = train(tmp_path, untrained, "first", epochs=0.2).folder
    alone, mixed = (train(tmp_path, first, str(share), epochs=0.2, base_share=share) for share in (0.0, 0.25))
    before, after = (load_file(folder / "model.safetensors") for folder in (first, alone.folder))
    for name, tensor in load_file(mixed.folder / "model.safetensors").items():
        assert torch.allclose(tensor, 0.75 * after[name] + 0.25 * before[name], atol=1e-6), name
    assert not torch.equal(weights(alone.folder, "qa_outputs"), weights(first, "qa_outputs"))
    with pytest.raises(ModelError, match="base has no question answering head, so base_share can't keep any of it"):
        train(tmp_path, untrained, "none", base_share=0.25)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("scheduler", ["linear", "cosine", "constant"])
def test_schedules(scheduler: str, tmp_path: Path) -> None:
    train(tmp_path, make_bert(tmp_path / "base"), epochs=0.5, scheduler=scheduler, warmup_steps=2, log_every=1)
    rates = [row["learning_rate"] for row in rows(tmp_path / "out") if "loss" in row]
    assert rates[:3] == [0.0, 1e-3, 2e-3]
    assert (rates[-1] == 2e-3) is (scheduler == "constant")


def test_patience_ends_a_training_and_its_end_is_final(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    options = {"epochs": 10, "learning_rate": 1e-9, "evaluations": 20, "patience": 2}
    trained = train(tmp_path, base, **options)
    assert [row["step"] for row in rows(tmp_path / "out") if "eval_f1" in row] == [6, 12, 18]
    assert trained.step == 6
    (tmp_path / "out/model").rename(tmp_path / "before")
    assert train(tmp_path, base, resume=True, **options) == trained
    assert rows(tmp_path / "out")[-1]["step"] == 18


def test_bfloat16_trains_weights_of_single_precision(tmp_path: Path) -> None:
    train(tmp_path, make_bert(tmp_path / "base"), epochs=2, precision="bf16")
    losses = [row["loss"] for row in rows(tmp_path / "out") if "loss" in row]
    assert losses[-1] < 0.9 * losses[0]
    weights = load_file(tmp_path / "out/checkpoints/checkpoint-24/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"diverged: at step \d+ the loss is nan.* Lower learning_rate \(1e\+30\)"):
        train(tmp_path, make_bert(tmp_path / "base"), learning_rate=1e30, log_every=1)


def gpt(folder: Path) -> Path:
    GPT2Model(GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1)).save_pretrained(folder)
    return folder


def without_tokenizer(folder: Path) -> Path:
    (make_bert(folder) / "tokenizer.json").unlink()
    return folder


def with_slow_tokenizer(folder: Path) -> Path:
    """Canine's tokenizer is Python's own and knows no offsets."""
    without_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    return folder


def with_tokenizer(folder: Path, tokenizer: Tokenizer) -> Path:
    make_bert(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def with_bare_tokenizer(folder: Path) -> Path:
    tokenizer = word_piece(lowercase=True)
    tokenizer.post_processor = None
    return with_tokenizer(folder, tokenizer)


def with_large_tokenizer(folder: Path) -> Path:
    words = {f"word{number}": number for number in range(1_000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="word0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return with_tokenizer(folder, tokenizer)


def without_weights(folder: Path) -> Path:
    """One layer more in the configuration than in the file."""
    make_bert(folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    return folder


def short(folder: Path) -> Path:
    tokenizer = word_piece(lowercase=True)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=40, **SIZE)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, 'No model folder ".*base"'),
        (gpt, "is of kind 'gpt2': a reader is trained from one of bert, albert, roberta"),
        (without_tokenizer, r"has 5 tokens, but the model knows \d+: its vocabulary is missing"),
        (with_slow_tokenizer, "gives no character offsets, so answers could not be placed"),
        (with_bare_tokenizer, "puts no special token before the question"),
        (with_large_tokenizer, r"has 1000 tokens, its embeddings only \d+\. Use the model's own tokenizer"),
        (without_weights, r"lacks 16 weights of its own configuration, encoder\.layer\.2|bert\.encoder\.layer\.2"),
        (short, "reads 40 tokens, but the recipe asks for windows of 48. Lower max_length"),
    ],
)
def test_a_base_model_that_does_not_serve_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        train(tmp_path, make(tmp_path / "base"))


def test_wrong_data_and_recipes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    base = make_bert(tmp_path / "base")
    content = articles()
    content[0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 1
    write_data(tmp_path / "train.json", content)
    with pytest.raises(DataError, match='"Oslo" does not stand at 1'):
        train(tmp_path, base)
    content = articles()
    content[7]["paragraphs"][0]["qas"][0]["question"] = "Where does Hanna live? " * 20
    write_data(tmp_path / "train.json", content)
    with pytest.raises(DataError, match=r'Question "q56" can\'t be trained with. The question has \d+ tokens'):
        train(tmp_path, base)
    write_data(tmp_path / "train.json")
    with pytest.raises(ConfigError, match='precision = "fp16" needs a GPU'):
        train(tmp_path, base, precision="fp16")
    with pytest.raises(ConfigError, match="warm-up of 500 steps"):
        train(tmp_path, base, warmup_steps=500)
    untrained = tmp_path / "untrained.toml"
    untrained.write_text((tmp_path / "tiny.toml").read_text().partition("[training]")[0])
    with pytest.raises(ConfigError, match=r"untrained\S* has no \[training\] table"):
        train_reader(str(untrained), [tmp_path / "train.json"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cased_tokenizer_that_says_so_is_left_alone(tmp_path: Path) -> None:
    base = make_spanbert(tmp_path / "base")
    (base / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    trained = train(tmp_path, base, epochs=0.1)
    tokenizer = load_tokenizer(trained.folder)
    assert tokenizer.encode("Oslo").tokens != tokenizer.encode("oslo").tokens
