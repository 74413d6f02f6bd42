"""Layer-wise learning rates, and layers that stay as they are.

Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning", section 3.2 (discriminative fine-tuning).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from odqa.errors import ConfigError
from odqa.recipes import TrainingRecipe

_LAYER = re.compile(r"\.(?:layer|albert_layer_groups)\.(\d+)\.")
_HEAD = "qa_outputs"


def freeze(model: Any, recipe: TrainingRecipe) -> None:
    """Take the recipe's embeddings and lowest layers out of training.

    Raises:
        ConfigError: the model has fewer layers.
    """
    if recipe.freeze_embeddings:
        model.base_model.embeddings.requires_grad_(requires_grad=False)
    depths = {name: _depth(name, 0) for name, _ in model.named_parameters()}
    if recipe.freeze_layers > (layers := max(depths.values())):
        raise ConfigError(f"freeze_layers is {recipe.freeze_layers}, but {recipe.base} has {layers} layers.")
    for name, parameter in model.named_parameters():
        if 0 < depths[name] <= recipe.freeze_layers:
            parameter.requires_grad_(requires_grad=False)


def parameter_groups(model: Any, recipe: TrainingRecipe, decayed: Collection[str]) -> list[dict[str, Any]]:
    """Groups of parameters for the optimiser, the head first: its rate is the recipe's and the one that is logged.

    Args:
        model: The model, whose parameters that need no gradient are left out.
        recipe: Its `layer_decay` multiplies the rate once for each layer below the head; embeddings are the lowest.
        decayed: Names of the parameters that weight decay applies to.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    top = 1 + max(_depth(name, 0) for name, _ in named)
    groups: dict[tuple[int, bool], list[Any]] = {}
    for name, parameter in named:
        groups.setdefault((_depth(name, top), name in decayed), []).append(parameter)
    return [
        {
            "params": groups[depth, decays],
            "lr": recipe.learning_rate * recipe.layer_decay ** (top - depth),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for depth, decays in sorted(groups, reverse=True)
    ]


def _depth(name: str, top: int) -> int:
    """0 for embeddings, 1 for the first layer, `top` for the head."""
    if name.startswith(_HEAD):
        return top
    found = _LAYER.search(name)
    return int(found[1]) + 1 if found else 0
