from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from odqa import recipes
from odqa.errors import ConfigError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.outcomes import Outcome
from odqa.recipes import TrainingRecipe
from odqa.training import checkpoints
from odqa.training.average import WeightAverage
from odqa.training.base import load_model, open_base
from odqa.training.course import Recorder, is_exhausted
from odqa.training.loop import weighted_loss
from odqa.training.optimizer import parameter_groups
from odqa.training.plan import check_precision, plan
from odqa.training.run import RunFolder
from odqa.training.scoring import best_threshold, tuned_threshold
from tests.training.tiny_bases import make_bert

FIVE = ["albert-xlarge-squad2", "bert-base-squad2", "roberta-1b-squad2", "scibert-squad2", "spanbert-squad2"]


def recipe(**options: Any) -> TrainingRecipe:
    return TrainingRecipe(**{"base": "b", "learning_rate": 1.0, "epochs": 1, "batch_size": 8} | options)


def test_a_plan_by_hand() -> None:
    # 100 windows in batches of 8 are 13; 2 of them a step make 7 steps; 2.5 epochs make 18, a tenth of them 2.
    found = plan(recipe(accumulation=2, epochs=2.5, warmup_share=0.1, evaluations=4), 100, world_size=1)
    assert (found.steps_per_epoch, found.steps, found.warmup_steps, found.eval_every) == (7, 18, 2, 5)
    assert found.effective_batch_size == 16


@pytest.mark.parametrize(("devices", "accumulation"), [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)])
def test_the_effective_batch_is_kept_on_other_devices(devices: int, accumulation: int) -> None:
    albert = recipes.load_pipeline("albert-xlarge-squad2").training
    assert albert is not None
    found = plan(albert, 130_319, world_size=devices)
    assert (found.accumulation, found.effective_batch_size) == (accumulation, 48)
    assert found.steps == pytest.approx(3 * 130_319 / 48, abs=4)


def test_batches_that_can_not_be_made_name_the_numbers() -> None:
    message = r"effective batch of 72 windows \(batch_size 18 x devices 4 x accumulation 1\) can't be made .* 18 on 3"
    with pytest.raises(ConfigError, match=message):
        plan(recipe(batch_size=18, devices=4), 1_000, world_size=3)
    with pytest.raises(ConfigError, match="effective batch of 8 windows"):
        plan(recipe(), 1_000, world_size=2)


def test_a_warmup_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="warm-up of 39095 steps would last for all of the training's 16290"):
        plan(recipe(warmup_steps=39_095, epochs=3, batch_size=24), 130_319, world_size=1)
    with pytest.raises(ConfigError, match=r"warmup_steps \(5\) and warmup_share \(0\.1\) exclude each other"):
        recipes.parse(
            TrainingRecipe,
            'base = "b"\nlearning_rate = 1.0\nepochs = 1\nbatch_size = 1\nwarmup_steps = 5\nwarmup_share = 0.1',
            "x",
        )


def test_half_precision_needs_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_precision(recipe(precision="bf16"))
    with pytest.raises(ConfigError, match='precision = "fp16" needs a GPU'):
        check_precision(recipe(precision="fp16"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    check_precision(recipe(precision="fp16"))
    with pytest.raises(ConfigError, match='precision = "bf16" is not supported by this GPU'):
        check_precision(recipe(precision="bf16"))


@pytest.mark.parametrize("name", FIVE)
def test_the_recipes_parse_and_promise_scores(name: str) -> None:
    found = recipes.load_pipeline(name)
    assert found.training is not None and found.expected is not None and found.expected.source
    assert (found.reader.max_length, found.reader.doc_stride) == (384, 128)


def test_the_recipes_are_those_of_the_published_runs() -> None:
    found = {name: recipes.load_pipeline(name) for name in FIVE}
    numbers = {
        name: (one.training.learning_rate, one.training.effective_batch_size, one.training.epochs, one.expected.f1)
        for name, one in found.items()
        if one.training and one.expected
    }
    assert numbers == {
        "albert-xlarge-squad2": (3e-5, 48, 3, 87.463),
        "bert-base-squad2": (2e-5, 24, 3, 78.62),
        "roberta-1b-squad2": (3e-5, 16, 10, 68.990),
        "scibert-squad2": (3e-5, 72, 3, 78.477),
        "spanbert-squad2": (2e-5, 32, 4, 82.228),
    }


def test_the_loss_by_hand() -> None:
    output = SimpleNamespace(
        start_logits=torch.tensor([[0.0, 0.0, 50.0], [0.0, np.log(3.0), 0.0]]),
        end_logits=torch.tensor([[0.0, 0.0, 50.0], [0.0, 0.0, 0.0]]),
    )
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])  # the high logit of the first window is padding's
    start, end, weight = torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([1.0, 0.5])
    first = (np.log(2) + np.log(2)) / 2
    second = (np.log(5 / 3) + np.log(3)) / 2
    found = weighted_loss(output, mask, start, end, weight)
    assert found.item() == pytest.approx((first + 0.5 * second) / 2)


class Layered(torch.nn.Module):
    """The names of a BERT reader of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = torch.nn.ModuleDict(
            {
                "embeddings": torch.nn.Linear(1, 1),
                "encoder": torch.nn.ModuleDict({"layer": torch.nn.ModuleList([torch.nn.Linear(1, 1) for _ in "ab"])}),
            }
        )
        self.qa_outputs = torch.nn.Linear(1, 1)


def test_layers_have_rates_of_their_own() -> None:
    model = Layered()
    decayed = [name for name, _ in model.named_parameters() if name.endswith("weight")]
    groups = parameter_groups(model, recipe(layer_decay=0.5, weight_decay=0.1), decayed)
    rates = {id(one): (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    assert {name: rates[id(one)] for name, one in model.named_parameters()} == {
        "bert.embeddings.weight": (0.125, 0.1),
        "bert.embeddings.bias": (0.125, 0.0),
        "bert.encoder.layer.0.weight": (0.25, 0.1),
        "bert.encoder.layer.0.bias": (0.25, 0.0),
        "bert.encoder.layer.1.weight": (0.5, 0.1),
        "bert.encoder.layer.1.bias": (0.5, 0.0),
        "qa_outputs.weight": (1.0, 0.1),
        "qa_outputs.bias": (1.0, 0.0),
    }
    assert groups[0]["lr"] == 1.0
    model.bert["embeddings"].requires_grad_(requires_grad=False)
    assert sum(len(group["params"]) for group in parameter_groups(model, recipe(layer_decay=0.5), decayed)) == 6


def test_the_average_by_hand_and_saved(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    weights = iter((1.0, 3.0, 5.0))
    torch.nn.init.constant_(model.weight, next(weights))
    average = WeightAverage(model, 0.2)
    for step, weight in enumerate(weights, 1):  # decays: 2/11 and 0.2, since 3/12 is above it
        torch.nn.init.constant_(model.weight, weight)
        average.update(step)
    after_one = 2 / 11 * 1 + 9 / 11 * 3
    assert average.weights["weight"].item() == pytest.approx(0.2 * after_one + 0.8 * 5)
    average.save(tmp_path / "average.safetensors")
    loaded = WeightAverage(model, 0.2)
    loaded.load(tmp_path / "average.safetensors")
    assert torch.equal(loaded.weights["weight"], average.weights["weight"])


def test_patience_counts_evaluations_since_the_best() -> None:
    def history(*f1s: float) -> list[dict[str, Any]]:
        return [{"loss": 1.0}, *({"eval_f1": f1} for f1 in f1s)]

    assert not is_exhausted(history(), 1)
    assert not is_exhausted(history(50), 1)
    assert is_exhausted(history(50, 50), 1)
    assert not is_exhausted(history(50, 40), 2)
    assert is_exhausted(history(50, 40, 49), 2)
    assert not is_exhausted(history(50, 40, 51), 2)
    assert not is_exhausted(history(50, 40, 30, 20), 0)


def outcome(number: int, margin: float, f1: float, *, impossible: bool) -> Outcome:
    answers = () if impossible else (GoldAnswer("a", 0),)
    question = Question(str(number), "?", "a", "t", "t-0", answers, impossible)
    text = "" if margin == float("-inf") else "a"
    return Outcome(question, text, 0, 1, margin, f1, f1)


def outcomes_of(rows: list[tuple[float, float, bool]]) -> list[Outcome]:
    return [
        outcome(number, margin, 0.0 if impossible else f1, impossible=impossible)
        for number, (margin, f1, impossible) in enumerate(rows)
    ]


def mean_f1(found: list[Outcome], threshold: float) -> float:
    return sum(one.scores(threshold)[1] for one in found) / len(found)


margins = st.one_of(st.integers(-4, 4).map(float), st.just(float("-inf")))
rows = st.lists(st.tuples(margins, st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=12)


def gains_of(found: list[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    readable = [one for one in found if one.prediction]
    gains = [-1.0 if one.question.is_impossible else one.f1 for one in readable]
    return np.array([one.margin for one in readable]), np.array(gains)


@given(rows)
def test_no_threshold_is_better_than_the_best_one(given_rows: list[tuple[float, float, bool]]) -> None:
    found = outcomes_of(given_rows)
    best = max(mean_f1(found, threshold) for threshold in np.arange(-5, 5.5, 0.5))
    threshold = best_threshold(*gains_of(found))
    assert np.isfinite(threshold)
    assert mean_f1(found, threshold) == pytest.approx(best)


@given(rows)
def test_no_threshold_has_a_better_expected_f1_than_the_tuned_one(given_rows: list[tuple[float, float, bool]]) -> None:
    found = outcomes_of(given_rows)
    margins, gains = gains_of(found)

    def expected(threshold: float) -> float:
        return float(gains @ norm.cdf(margins - threshold))

    best = max((expected(threshold) for threshold in np.arange(-7, 7.5, 0.5)), default=0.0)
    assert expected(tuned_threshold(found)) >= best - 0.01 * len(found)


def test_the_threshold_lies_half_way() -> None:
    found = [outcome(1, 3.0, 1.0, impossible=False), outcome(2, 1.0, 0.0, impossible=True)]
    assert best_threshold(*gains_of(found)) == 2.0
    assert best_threshold(*gains_of(found[:1])) == 2.0
    assert best_threshold(*gains_of(found[1:])) == 2.0
    assert tuned_threshold(found) == pytest.approx(2.0, abs=0.01)


def test_a_lucky_question_does_not_move_the_tuned_threshold() -> None:
    right = [outcome(row, margin, 1.0, impossible=False) for row, margin in enumerate(np.arange(2.1, 6, 0.1))]
    wrong = [outcome(100 + row, margin, 0.0, impossible=True) for row, margin in enumerate(np.arange(-2, 2, 0.1))]
    lucky = [outcome(200 + row, -2.05, 1.0, impossible=False) for row in range(41)]
    margins, gains = gains_of([*right, *wrong, *lucky])
    assert best_threshold(margins, gains) < -2
    assert tuned_threshold([*right, *wrong, *lucky[:5]]) == pytest.approx(tuned_threshold([*right, *wrong]), abs=0.05)


@pytest.mark.parametrize(("spare", "threshold"), [(0.0, 2.5), (0.05, 2.5), (0.11, 0.5), (1.2, -1.0)])
def test_a_little_is_spared_to_answer_more(spare: float, threshold: float) -> None:
    margins, gains = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, -0.2, 0.1, -1.0])
    assert best_threshold(margins, gains, spare=spare) == threshold


def test_a_log_goes_on_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "seconds": 5}\n{"step": 2, "seconds": 100}\n{"step": 3, "seconds": 101}\n{"ste')
    made = plan(recipe(), 100, world_size=1)
    ticks: list[int] = []
    tick: Any = SimpleNamespace(advance=lambda amount=1: ticks.append(amount))
    recorder = Recorder(path, made, tick, step=2)
    recorder.on_step_begin(None, None, None)
    recorder.on_step_end(None, None, None)
    recorder.on_log(None, SimpleNamespace(global_step=3), None, logs={"loss": 0.5, "learning_rate": 0.1})
    recorder.on_log(None, SimpleNamespace(global_step=3), None, logs={"train_runtime": 9.0})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in found] == [1, 2, 3]
    assert found[2]["loss"] == 0.5 and found[2]["seconds"] >= 100 and found[2]["examples_per_second"] > 0
    assert ticks == [2, 1]


def test_checkpoints_are_kept_by_step_not_by_name(tmp_path: Path) -> None:
    for step in (5, 80, 90, 100):
        checkpoints.path_of(tmp_path, step).mkdir()
    (tmp_path / "checkpoint-999.draft").mkdir()
    assert checkpoints.last(tmp_path) == tmp_path / "checkpoint-100"
    checkpoints.prune(tmp_path, best_step=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-100",
        "checkpoint-5",
        "checkpoint-90",
        "checkpoint-999.draft",
    ]
    assert checkpoints.last(tmp_path / "none") is None


def test_a_damaged_state_and_a_busy_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text("{")
    with pytest.raises(ConfigError, match=r"checkpoint .* is damaged .*Delete it to resume before it"):
        checkpoints.state(tmp_path)
    with (
        RunFolder(tmp_path).locked(),
        pytest.raises(ConfigError, match="Another process is training in"),
        RunFolder(tmp_path).locked(),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file"):
        RunFolder(tmp_path / "file").check(resume=True)


def test_dropout_takes_the_place_of_the_rates_that_it_names(tmp_path: Path) -> None:
    default = recipes.load_pipeline("default")
    base = open_base(
        str(make_bert(tmp_path / "base")), default.reader.model_copy(update={"max_length": 32, "doc_stride": 8})
    )

    def rates(**options: float) -> tuple[float, float]:
        config = load_model(base, **options).config
        return config.hidden_dropout_prob, config.attention_probs_dropout_prob

    kept = (base.config.hidden_dropout_prob, base.config.attention_probs_dropout_prob)
    assert rates() == kept
    assert rates(dropout=0.3) == (0.3, 0.3)
    assert rates(dropout=0.3, attention_dropout=0.0) == (0.3, 0.0)
    assert rates(attention_dropout=0.4) == (kept[0], 0.4)
