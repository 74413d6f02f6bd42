"""Token batches in, arrays out."""

from __future__ import annotations

from odqa.runtime.batching import TokenBatch, pad, token_batches
from odqa.runtime.torch_engine import TorchEngine, default_device

__all__ = ["TokenBatch", "TorchEngine", "default_device", "pad", "token_batches"]
