"""Token batches in, arrays out: torch on a GPU, an exported graph on a CPU, torch where neither fits.

`device` means the same everywhere: None for the best there is, `openvino` for the exported graph on the CPU, or a
torch device (`cuda`, `cuda:1`, `cpu`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from odqa import models
from odqa.errors import ModelError
from odqa.runtime.batching import TokenBatch, pad, token_batches
from odqa.runtime.kinds import Kind

__all__ = ["Engine", "Kind", "TokenBatch", "default_device", "load_engine", "pad", "token_batches"]

OPENVINO = "openvino"


class Engine(Protocol):
    """Runs one model on token batches; may be called from several threads."""

    max_tokens: int
    """Tokens of a batch at most, padding included."""

    def run(self, batch: TokenBatch) -> tuple[NDArray[np.float32], ...]:
        """Float32 arrays of shape (rows, tokens): start and end logits; or (rows, tokens, dimensions): states."""


def default_device() -> str:
    """`cuda` where there is a GPU that torch can use, else `openvino` where that is installed, else `cpu`."""
    if _has_gpu():
        return "cuda"
    return "cpu" if find_spec("openvino") is None else OPENVINO


def load_engine(folder: Path, kind: Kind, *, device: str | None = None) -> Engine:
    """The engine for the model in `folder`. With no device named, what can't be exported runs on torch.

    Raises:
        ModelError: the model can't be loaded or isn't of that kind.
    """
    models.check_kind(folder, reader=kind is Kind.READER)
    chosen = default_device() if device is None else device
    if chosen == OPENVINO:
        from odqa.runtime.openvino_engine import OpenVinoEngine

        try:
            return OpenVinoEngine(folder, kind)
        except ModelError:
            if device is not None:
                raise
            chosen = "cpu"
    from odqa.runtime.torch_engine import TorchEngine

    return TorchEngine(folder, kind, device=chosen)


def _has_gpu() -> bool:
    """Whether torch sees a GPU, asked without importing torch where there is no driver."""
    drivers = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
    if not any(driver.exists() for driver in drivers):
        return False
    import torch

    return bool(torch.cuda.is_available())
