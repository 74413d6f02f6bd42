"""The torch engine: CUDA in half precision, or the CPU in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import models
from odqa.errors import ModelError
from odqa.runtime.batching import TokenBatch


def default_device() -> str:
    """`cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class TorchEngine:
    """A question answering model that turns token batches into start and end logits."""

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        """Load the model in `folder`.

        Raises:
            ModelError: it has no question answering head, or its weights don't fit its configuration.
        """
        import torch

        self.device = default_device() if device is None else device
        self.max_tokens = 65_536 if self.device.startswith("cuda") else 4_096
        self._segments = _int(models.model_config(folder).get("type_vocab_size", 1)) > 1
        dtype = torch.float16 if self.device.startswith("cuda") else torch.float32
        self._model = load_reader_model(folder, dtype=dtype).to(self.device).eval()

    def run(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Start and end logits, each float32 of the batch's shape (rows, tokens)."""
        import torch

        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._segments:
            inputs["token_type_ids"] = batch.segments
        tensors = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        with torch.inference_mode():
            output = self._model(**tensors)
        return output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()


def load_reader_model(folder: Path, *, dtype: Any = None) -> Any:
    """The transformers model in `folder`, every weight of its question answering head read from the file.

    Raises:
        ModelError: it was saved without such a head, or can't be loaded.
    """
    from transformers import AutoModelForQuestionAnswering

    _check_head(folder)
    try:
        with models.quiet():
            model, info = AutoModelForQuestionAnswering.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"Can't load a reader from {folder}: {str(error).splitlines()[0]}") from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise ModelError(f"{folder} lacks the weights {missing}: it is no trained reader.")
    return model


def _check_head(folder: Path) -> None:
    architectures = models.model_config(folder).get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if not any(name.endswith("ForQuestionAnswering") for name in names):
        raise ModelError(
            f"{folder} has no question answering head (it is {', '.join(names) or 'of no known architecture'}). "
            "Train one on it first: odqa train reader"
        )


def _int(value: object) -> int:
    return value if isinstance(value, int) else 1
