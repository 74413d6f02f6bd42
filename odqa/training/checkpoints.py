"""Checkpoint folders that are whole or not there: written as a draft, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odqa.errors import ConfigError

DRAFT = "draft"
AVERAGE = "average.safetensors"
_WEIGHTS = "model.safetensors"
_STATE = "trainer_state.json"
_PREFIX = "checkpoint-"
_KEPT = 2


def publish(draft: Path, folder: Path) -> None:
    """Make a finished draft the folder that it is to be, to survive a power cut as well as a kill."""
    for path in (*draft.rglob("*"), draft):
        _flush(path)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    _flush(folder.parent)


def prune(folder: Path, *, best_step: int | None) -> None:
    """Keep the last checkpoints and the best one."""
    for step in _steps(folder)[:-_KEPT]:
        if step != best_step:
            shutil.rmtree(path_of(folder, step))


def last(folder: Path) -> Path | None:
    """The checkpoint to go on from."""
    steps = _steps(folder)
    return path_of(folder, steps[-1]) if steps else None


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"{_PREFIX}{step}"


def state(checkpoint: Path) -> dict[str, Any]:
    """What the trainer noted beside the weights: steps, figures, the best step so far.

    Raises:
        ConfigError: the checkpoint is damaged.
    """
    try:
        found: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The checkpoint {checkpoint} is damaged ({error}). Delete it to resume before it.") from None
    return found


def write_weights(folder: Path, tensors: Mapping[str, Any]) -> None:
    """Write the trainer's weights as safetensors."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / _WEIGHTS, metadata={"format": "pt"})


def weights(checkpoint: Path) -> Mapping[str, Any]:
    """The tensors to read with: the moving average where one is kept, else the weights themselves."""
    from safetensors.torch import load_file

    average = checkpoint / AVERAGE
    tensors: dict[str, Any] = load_file(average if average.is_file() else checkpoint / _WEIGHTS)
    return tensors


def _steps(folder: Path) -> list[int]:
    names = [path.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*")]
    return sorted(int(name) for name in names if name.isdecimal())


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
