"""The numbers of a training run, fixed before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from odqa.errors import ConfigError
from odqa.recipes import RetrieverTrainingRecipe, TrainingRecipe


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps are those of the optimiser; `accumulation` batches of `batch_size` a device make one."""

    batch_size: int
    accumulation: int
    world_size: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    eval_every: int

    @property
    def effective_batch_size(self) -> int:
        """Windows, or questions of a retriever, in one step over all devices."""
        return self.batch_size * self.accumulation * self.world_size


def plan(recipe: TrainingRecipe, windows: int, *, world_size: int) -> Plan:
    """Keep the recipe's effective batch size on the devices at hand.

    Raises:
        ConfigError: it can't be divided over them, or the warm-up is as long as the training.
    """
    accumulation = _accumulation(recipe, world_size)
    batches = math.ceil(windows / (recipe.batch_size * world_size))
    steps_per_epoch = math.ceil(batches / accumulation)
    steps = math.ceil(recipe.epochs * steps_per_epoch)
    warmup_steps = recipe.warmup_steps or math.ceil(recipe.warmup_share * steps)
    if warmup_steps >= steps and warmup_steps > 0:
        raise ConfigError(
            f"The warm-up of {warmup_steps} steps would last for all of the training's {steps}, which would never "
            "reach its learning rate. Lower warmup_steps, or give a warmup_share below 1."
        )
    return Plan(
        batch_size=recipe.batch_size,
        accumulation=accumulation,
        world_size=world_size,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        warmup_steps=warmup_steps,
        eval_every=math.ceil(steps / recipe.evaluations),
    )


def retriever_plan(recipe: RetrieverTrainingRecipe, batches: int) -> Plan:
    """Each batch of an epoch is a step, on one device."""
    steps = math.ceil(recipe.epochs * batches)
    return Plan(
        batch_size=recipe.batch_size,
        accumulation=1,
        world_size=1,
        steps_per_epoch=batches,
        steps=steps,
        warmup_steps=int(recipe.warmup_share * steps),
        eval_every=math.ceil(steps / recipe.evaluations),
    )


def _accumulation(recipe: TrainingRecipe, world_size: int) -> int:
    accumulation, rest = divmod(recipe.effective_batch_size, recipe.batch_size * world_size)
    if rest or not accumulation:
        raise ConfigError(
            f"An effective batch of {recipe.effective_batch_size} windows (batch_size {recipe.batch_size} x devices "
            f"{recipe.devices} x accumulation {recipe.accumulation}) can't be made of batches of {recipe.batch_size} "
            f"on {world_size} devices. Take a batch_size that divides {recipe.effective_batch_size} by {world_size}, "
            "or another number of devices."
        )
    return accumulation


def check_precision(recipe: TrainingRecipe | RetrieverTrainingRecipe) -> None:
    """See that the device at hand can train in the recipe's precision.

    Raises:
        ConfigError: fp16 without a GPU, or bf16 on a GPU that lacks it.
    """
    import torch

    gpu = torch.cuda.is_available()
    if recipe.precision == "fp16" and not gpu:
        raise ConfigError(
            'precision = "fp16" needs a GPU, and torch sees none. Set it to "bf16" or "fp32" for the CPU.'
        )
    if recipe.precision == "bf16" and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError('precision = "bf16" is not supported by this GPU. Set it to "fp16" or "fp32".')
