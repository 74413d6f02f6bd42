"""The training loop: transformers' Trainer with odqa's windows, loss, scores and checkpoints."""
# ruff: noqa: ARG002 - the Trainer's own signatures

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainingArguments

from odqa import progress
from odqa.recipes import TrainingRecipe
from odqa.training import checkpoints
from odqa.training.average import WeightAverage
from odqa.training.course import Course, Recorder
from odqa.training.features import Collator, Features, Order
from odqa.training.optimizer import parameter_groups
from odqa.training.plan import Plan
from odqa.training.run import RunFolder

Score = Callable[[Mapping[str, Any]], dict[str, float]]
"""From the weights of a reader to its figures on the `select` articles; `f1` chooses."""


def arguments(recipe: TrainingRecipe, plan: Plan, run: RunFolder, *, save_every: int, log_every: int) -> Any:
    """Transformers' form of a recipe. Evaluation and saving go by steps, so that both lie before a saved state."""
    return TrainingArguments(
        output_dir=str(run.checkpoints),
        per_device_train_batch_size=plan.batch_size,
        gradient_accumulation_steps=plan.accumulation,
        max_steps=plan.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler.replace("constant", "constant_with_warmup"),
        warmup_steps=plan.warmup_steps,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=plan.eval_every,
        metric_for_best_model="f1",
        greater_is_better=True,
        save_strategy="steps",
        save_steps=save_every,
        logging_strategy="steps",
        logging_steps=log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_timeout=7_200,
        disable_tqdm=True,
        report_to="none",
        log_level="error",
        log_level_replica="error",
    )


class ReaderTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """Trains on windows; the order of the data is `Order`'s, so that it hangs on no generator's state."""

    optimizer: Any
    control: Any

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        run: RunFolder,
        recipe: TrainingRecipe,
        plan: Plan,
        features: Features,
        collator: Collator,
        score: Score,
    ) -> None:
        """Put the parts together; training begins with `go_on`."""
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs are the launcher's business, not torch's DataParallel
        super().__init__(model, args, data_collator=collator, train_dataset=features, eval_dataset=features)
        self.remove_callback(PrinterCallback)
        self.add_callback(Course(self, recipe, plan))
        self.order = Order(features.lengths, plan.effective_batch_size, recipe.seed, recipe.group_by_length)
        self.average = WeightAverage(self.model, recipe.average_decay) if recipe.average_decay else None
        self._run, self._recipe, self._plan, self._score = run, recipe, plan, score

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

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean of the two cross-entropies, weighted by window; what is padding takes no part in it."""
        start, end, weight = (inputs.pop(name) for name in ("start", "end", "weight"))
        output = model(**inputs)
        loss = weighted_loss(output, inputs["attention_mask"], start, end, weight)
        return (loss, output) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW, with a rate of its own for each layer where the recipe says so."""
        if self.optimizer is None and self._recipe.layer_decay < 1:
            decayed = self.get_decay_parameter_names(self.model)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer_class(parameter_groups(self.model, self._recipe, decayed), **options)
        return super().create_optimizer(model)

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

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

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


def weighted_loss(output: Any, mask: Any, start: Any, end: Any, weight: Any) -> Any:
    """Mean over windows of `weight * (-log p(start) - log p(end)) / 2`; logits are (windows, tokens).

    Source: Devlin et al. 2019, section 4.2.
    """
    sides = ((output.start_logits, start), (output.end_logits, end))
    losses = [
        cross_entropy(logits.float().masked_fill(mask == 0, float("-inf")), gold, reduction="none")
        for logits, gold in sides
    ]
    return (weight * (losses[0] + losses[1]) / 2).mean()
