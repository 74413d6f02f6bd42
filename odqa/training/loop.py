"""The reader's training loop: transformers' Trainer with odqa's windows, loss, scores and checkpoints."""
# ruff: noqa: ARG002 - the Trainer's own signatures

from __future__ import annotations

from typing import Any

from torch.nn.functional import cross_entropy
from transformers import TrainingArguments

from odqa.recipes import TrainingRecipe
from odqa.training.average import WeightAverage
from odqa.training.features import Collator, Features, Order
from odqa.training.optimizer import parameter_groups
from odqa.training.plan import Plan
from odqa.training.resumable import ResumableTrainer, Score, deterministic, options
from odqa.training.run import RunFolder

__all__ = ["ReaderTrainer", "arguments", "deterministic", "weighted_loss"]


def arguments(recipe: TrainingRecipe, plan: Plan, run: RunFolder, *, save_every: int, log_every: int) -> Any:
    """Transformers' form of a recipe."""
    shared = options(recipe, plan, run, save_every=save_every, log_every=log_every, measure="f1")
    return TrainingArguments(**shared, lr_scheduler_type=recipe.scheduler.replace("constant", "constant_with_warmup"))


class ReaderTrainer(ResumableTrainer):
    """Trains on windows; the order of the data is `Order`'s, so that it hangs on no generator's state."""

    optimizer: Any
    order: Order

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
        self.order = Order(features.lengths, plan.effective_batch_size, recipe.seed, recipe.group_by_length)
        self._recipe = recipe
        average = WeightAverage(self.model, recipe.average_decay) if recipe.average_decay else None
        self.keep(run, recipe, plan, score, average=average)

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
            optimizer_class, rates = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer_class(parameter_groups(self.model, self._recipe, decayed), **rates)
        return super().create_optimizer(model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order


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
