"""What trainings share: options, whole checkpoints, scores in training, and going on bit for bit."""
# ruff: noqa: ARG002 - the Trainer's own signatures

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer

from odqa import progress
from odqa.recipes import RetrieverTrainingRecipe, TrainingRecipe
from odqa.training import checkpoints
from odqa.training.average import WeightAverage
from odqa.training.course import Course, Recorder
from odqa.training.plan import Plan
from odqa.training.run import RunFolder

Score = Callable[[Mapping[str, Any]], dict[str, float]]
"""From weights in training to their figures on the `select` articles, one of which chooses."""


def options(
    recipe: TrainingRecipe | RetrieverTrainingRecipe,
    plan: Plan,
    run: RunFolder,
    *,
    save_every: int,
    log_every: int,
    measure: str,
) -> dict[str, Any]:
    """Transformers' form of a recipe; `measure` is the figure that chooses, higher is better.

    Evaluation and saving go by steps, so that both lie before a saved state.
    """
    return {
        "output_dir": str(run.checkpoints),
        "per_device_train_batch_size": plan.batch_size,
        "gradient_accumulation_steps": plan.accumulation,
        "max_steps": plan.steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": plan.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "use_cpu": not torch.cuda.is_available(),
        "eval_strategy": "steps",
        "eval_steps": plan.eval_every,
        "metric_for_best_model": measure,
        "greater_is_better": True,
        "save_strategy": "steps",
        "save_steps": save_every,
        "logging_strategy": "steps",
        "logging_steps": log_every,
        "logging_nan_inf_filter": False,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "ddp_timeout": 7_200,
        "disable_tqdm": True,
        "report_to": "none",
        "log_level": "error",
        "log_level_replica": "error",
    }


class ResumableTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """Keeps whole checkpoints in a run's folder; a subclass has an `order` of its data, a function of the epoch."""

    control: Any
    order: Any

    def keep(
        self,
        run: RunFolder,
        recipe: TrainingRecipe | RetrieverTrainingRecipe,
        plan: Plan,
        score: Score,
        *,
        average: WeightAverage | None = None,
    ) -> None:
        """Put the parts together; training begins with `go_on`."""
        self.remove_callback(PrinterCallback)
        self.add_callback(Course(self, recipe, plan))
        self.average = average
        self._run, self._plan, self._score = run, plan, score

    def record(self, path: Path, tick: progress.Tick, *, after: Path | None) -> None:
        """Log to `path` and move a bar, going on after a checkpoint."""
        step = 0 if after is None else checkpoints.state(after)["global_step"]
        self.add_callback(Recorder(path, self._plan, tick, step=step))

    def go_on(self, checkpoint: Path | None) -> None:
        """Train to the end from a checkpoint, or from the beginning."""
        self._remove_drafts()
        if checkpoint is not None and self.average is not None:
            self.average.load(checkpoint / checkpoints.AVERAGE)
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        self._remove_drafts()

    def _remove_drafts(self) -> None:
        if self.is_world_process_zero():
            shutil.rmtree(self._run.checkpoints / checkpoints.DRAFT, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Score the weights as they are, or their average, in the main process; the others take its figures."""
        from accelerate.utils import broadcast_object_list

        figures = [self._score(self._scored_weights()) if self.is_world_process_zero() else None]
        broadcast_object_list(figures)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in (figures[0] or {}).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _scored_weights(self) -> Mapping[str, Any]:
        weights: Mapping[str, Any] = self.model.state_dict() if self.average is None else self.average.weights
        return weights

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._run.checkpoints / checkpoints.DRAFT)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write the checkpoint beside the others, then rename it: it is whole, or it is not there."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            step = self.state.global_step
            draft = checkpoints.path_of(self._run.checkpoints / checkpoints.DRAFT, step)
            if self.average is not None:
                self.average.save(draft / checkpoints.AVERAGE)
            checkpoints.publish(draft, checkpoints.path_of(self._run.checkpoints, step))
            checkpoints.prune(self._run.checkpoints, best_step=self.state.best_global_step)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The weights under the names that the model itself has.

        Transformers would write those of the base's file, old ones like `LayerNorm.gamma` too, which it then
        doesn't find again when it resumes.
        """
        if self.args.should_save:
            checkpoints.write_weights(Path(output_dir or self.args.output_dir), self.model.state_dict())


@contextmanager
def deterministic() -> Iterator[None]:
    """Let a GPU compute the same bits each time, as a CPU does, so that a resumed run equals an undisturbed one."""
    if not torch.cuda.is_available():
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
