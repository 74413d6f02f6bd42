"""From a transformers model to an OpenVINO graph, checked against torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from odqa import models
from odqa.errors import ModelError
from odqa.runtime.batching import TokenBatch
from odqa.runtime.kinds import Kind
from odqa.runtime.torch_engine import _OUTPUTS, load_model

TOLERANCE = 1e-3
"""The most that an output may differ from torch's on the check."""


def export(folder: Path, kind: Kind, target: Path) -> None:
    """Write the graph of the model in `folder` to `target`, an `.xml` file with a `.bin` file beside it.

    Its inputs are ids, mask and segments, int64 (rows, tokens) of any size. Weights that are stored in half precision
    stay so; all arithmetic is float32.

    Raises:
        ModelError: the model can't be loaded or exported, or the graph differs from it.
    """
    import openvino
    import torch

    model = load_model(folder, kind, dtype=torch.float32).eval()
    module = _module(model, kind, segments=models.has_segments(folder))
    sample = tuple(torch.from_numpy(array) for array in _arrays(_sample(3, 11)))
    sizes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, sample, dynamic_shapes=(sizes,) * 3, strict=False)
            converted = openvino.convert_model(program)
    except Exception as error:  # exporters raise all kinds of errors, and torch can still run the model
        raise ModelError(f"Can't export {folder}: {str(error).splitlines()[0]}") from error
    try:
        openvino.save_model(converted, str(target), compress_to_fp16=_stored_in_half(folder))
    except RuntimeError as error:
        raise ModelError(f"Can't write {target}: {str(error).splitlines()[0]}") from error
    _check(openvino.Core().compile_model(str(target), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), module, folder)


def _module(model: Any, kind: Kind, *, segments: bool) -> Any:
    import torch

    class Positional(torch.nn.Module):  # type: ignore[misc]
        """The model with its inputs and outputs by position."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any, types: Any) -> tuple[Any, ...]:
            given = {"token_type_ids": types} if segments else {}
            output = self.model(input_ids=ids, attention_mask=mask, **given)
            return tuple(getattr(output, name) for name in _OUTPUTS[kind])

    return Positional().eval()


def _check(compiled: Any, module: Any, folder: Path) -> None:
    import torch

    for rows, tokens in ((1, 7), (4, 60)):
        batch = _sample(rows, tokens)
        with torch.no_grad():
            expected = module(*(torch.from_numpy(array) for array in _arrays(batch)))
        found = compiled(list(_arrays(batch)[: len(compiled.inputs)]))
        real = batch.mask.astype(bool)
        worst = max(np.abs(found[at] - one.numpy())[real].max() for at, one in enumerate(expected))
        if not worst <= TOLERANCE:
            raise ModelError(f"The exported graph of {folder} differs from torch by {worst:.2g}.")


def _sample(rows: int, tokens: int) -> TokenBatch:
    """Rows of falling length, a question of three tokens before the passage."""
    ids = np.random.default_rng(0).integers(5, 25, size=(rows, tokens))
    mask = (np.arange(tokens) < (tokens - 2 * np.arange(rows))[:, None]).astype(np.int64)
    segments = np.broadcast_to(np.arange(tokens) >= 5, ids.shape).astype(np.int64)
    return TokenBatch(np.where(mask == 1, ids, 0), mask, segments * mask)


def _arrays(batch: TokenBatch) -> tuple[Any, ...]:
    return batch.ids, batch.mask, batch.segments


def _stored_in_half(folder: Path) -> bool:
    from safetensors import safe_open

    kinds = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            kinds |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return kinds == {"F16"}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' talk off."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.onnx", "torch.fx", "openvino")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
