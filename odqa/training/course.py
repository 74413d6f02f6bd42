"""What goes along with the steps of training: order, average, checkpoints, patience, log and progress."""
# ruff: noqa: ARG002 - the Trainer's own signatures

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from odqa import progress
from odqa.errors import ConfigError
from odqa.recipes import RetrieverTrainingRecipe, TrainingRecipe
from odqa.training.plan import Plan

_FIGURES = ("loss", "learning_rate", "grad_norm", "epoch")


class Course(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Keeps what isn't the Trainer's own in step with it; all of its state is in the Trainer's saved state."""

    def __init__(self, trainer: Any, recipe: TrainingRecipe | RetrieverTrainingRecipe, plan: Plan) -> None:
        """Go along with `trainer`, which has an `order` and perhaps an `average`."""
        self._trainer = trainer
        self._recipe = recipe
        self._plan = plan

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Give the epoch its order."""
        self._trainer.order.epoch = state.global_step // self._plan.steps_per_epoch

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Average the weights; save wherever is evaluated, so that the best weights are on the disk."""
        if self._trainer.average is not None:
            self._trainer.average.update(state.global_step)
        control.should_save = control.should_save or control.should_evaluate

    def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Stop where the patience is at its end."""
        if is_exhausted(state.log_history, self._recipe.patience, args.metric_for_best_model):
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """Stop a training that came to nothing."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise ConfigError(
                f"The training diverged: at step {state.global_step} the loss is {loss}. Lower learning_rate "
                f"({self._recipe.learning_rate}), or warm up for more than {self._plan.warmup_steps} steps."
            )


def is_exhausted(history: Sequence[dict[str, Any]], patience: int, measure: str = "f1") -> bool:
    """Whether the last `patience` evaluations brought nothing better than the best before them (0: never)."""
    found = [entry[f"eval_{measure}"] for entry in history if f"eval_{measure}" in entry]
    return 0 < patience <= len(found) - 1 - max(range(len(found)), key=found.__getitem__, default=0)


class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Writes `metrics.jsonl` and moves the bar; seconds count over all sittings of a run."""

    def __init__(self, path: Path, plan: Plan, tick: progress.Tick, *, step: int) -> None:
        """Go on after `step`; what an interrupted sitting wrote beyond it is dropped."""
        kept = _rows_until(path, step)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")
        self._path, self._plan, self._tick = path, plan, tick
        self._began = time.monotonic() - (kept[-1]["seconds"] if kept else 0.0)
        self._step_began = self._busy = 0.0
        self._steps = 0
        tick.advance(step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Take the time of a step; evaluating and saving are no part of it."""
        self._step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Count the step."""
        self._busy += time.monotonic() - self._step_began
        self._steps += 1
        self._tick.advance()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """Append a row of training figures, or one of an evaluation."""
        row = {name: value for name, value in (logs or {}).items() if name in _FIGURES or name.startswith("eval_")}
        if "loss" in row and self._steps:
            row["examples_per_second"] = round(self._steps * self._plan.effective_batch_size / self._busy, 2)
            self._busy, self._steps = 0.0, 0
        if "loss" in row or any(name.startswith("eval_") for name in row):
            head = {"step": state.global_step, "seconds": round(time.monotonic() - self._began, 2)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(head | row)}\n")


def _rows_until(path: Path, step: int) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # a line without its end was cut off by a kill
    return [row for row in map(json.loads, lines) if row["step"] <= step]
