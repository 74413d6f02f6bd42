"""Averages of weights: over the steps of a training, and of what was trained with what it began from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WeightAverage:
    """`average = decay * average + (1 - decay) * weights`, with a smaller decay in the first steps.

    Source: Polyak and Juditsky 1992, in the exponential form of Tarvainen and Valpola 2017 ("Mean teachers").
    """

    def __init__(self, model: Any, decay: float) -> None:
        """Begin with the model's weights as they are."""
        self._model = model
        self._decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in self._model.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the average as safetensors."""
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in self.weights.items()}, path, metadata={"format": "pt"})

    def load(self, path: Path) -> None:
        """Go on from an average that `save` wrote."""
        from safetensors.torch import load_file

        for name, tensor in load_file(path).items():
            self.weights[name].copy_(tensor)


def mixed(weights: Mapping[str, Any], base: Mapping[str, Any], share: float) -> dict[str, Any]:
    """`(1 - share) * weights + share * base`, tensor by tensor.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    return {
        name: one.lerp(base[name].to(one), share) if one.is_floating_point() else one for name, one in weights.items()
    }
