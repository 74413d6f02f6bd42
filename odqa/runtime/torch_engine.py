"""The torch engine: a GPU in half precision, or the CPU in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import models
from odqa.errors import ModelError
from odqa.runtime.batching import CPU_TOKENS, TokenBatch
from odqa.runtime.kinds import Kind

_OUTPUTS = {Kind.READER: ("start_logits", "end_logits"), Kind.ENCODER: ("last_hidden_state",)}


class TorchEngine:
    """A transformers model."""

    def __init__(self, folder: Path, kind: Kind, *, device: str) -> None:
        """Load the model in `folder` onto a torch device.

        Raises:
            ModelError: it can't be loaded, weights are missing, or there is no such device.
        """
        import torch

        _check_device(device)
        self.device = device
        self.max_tokens = CPU_TOKENS if device == "cpu" else 65_536
        self._outputs = _OUTPUTS[kind]
        self._segments = models.has_segments(folder)
        model = load_model(folder, kind, dtype=torch.float32 if device == "cpu" else torch.float16)
        self._model = model.to(device).eval()

    def run(self, batch: TokenBatch) -> tuple[NDArray[np.float32], ...]:
        """See `Engine`."""
        import torch

        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._segments:
            inputs["token_type_ids"] = batch.segments
        tensors = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        with torch.inference_mode():
            output = self._model(**tensors)
        return tuple(getattr(output, name).float().cpu().numpy() for name in self._outputs)


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f'Device "{device}" can\'t be used: {reason}. Use "cpu", or leave it out.') from None


def load_model(folder: Path, kind: Kind, *, dtype: Any = None) -> Any:
    """The transformers model in `folder`, every weight that the kind needs read from the file.

    Raises:
        ModelError: weights are missing, or it can't be loaded.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForQuestionAnswering

    auto = AutoModelForQuestionAnswering if kind is Kind.READER else AutoModel
    try:
        with models.quiet():
            model, info = auto.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"Can't load a {kind} from {folder}: {str(error).splitlines()[0]}") from error
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(f"{folder} lacks the weights {', '.join(missing[:3])}: it is no trained {kind}.")
    return model
