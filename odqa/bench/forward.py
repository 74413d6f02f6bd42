"""A reader's model alone: windows a second, and how near that comes to plain products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from odqa import models
from odqa.bench.machine import machine
from odqa.bench.report import BenchError, Report, Value
from odqa.runtime import OPENVINO, Engine, Kind, TokenBatch, default_device, load_engine

BERT_BASE = "BERT-base, random weights"
_SIDES = {"cuda": 8192, "cpu": 2048}
_PRODUCTS = 10


def measure(model: str | None, *, tokens: int = 384, seconds: float = 5.0, device: str | None = None) -> Report:
    """Run whole windows through a reader's model, one at a time and as many as a batch holds.

    Args:
        model: A reader by its name or folder; one of BERT-base's size with random weights where None.
        tokens: Length of the windows, none of it padding.
        seconds: How long to run each size of batch.
        device: Where to run; see `odqa.runtime`. Random weights run on torch.

    Returns:
        Rates, with their operations a second as a share of what torch's product of square matrices reaches on the
        same device in the same precision.

    Raises:
        ModelError: the model can't be loaded.
        BenchError: it can't take such windows or run there.
    """
    if model is not None:
        return _measured(model, models.locate(model), tokens, seconds, default_device() if device is None else device)
    if device == OPENVINO:
        raise BenchError('Random weights run on torch alone: give --device "cpu" or "cuda", or a --model.')
    with TemporaryDirectory() as folder:
        _save_bert_base(Path(folder))
        chosen = default_device().replace(OPENVINO, "cpu") if device is None else device
        return _measured(BERT_BASE, Path(folder), tokens, seconds, chosen)


def _save_bert_base(folder: Path) -> None:
    from transformers import BertConfig, BertForQuestionAnswering

    with models.quiet():
        BertForQuestionAnswering(BertConfig()).save_pretrained(folder)


def _measured(name: str, folder: Path, tokens: int, seconds: float, device: str) -> Report:
    operations = _operations(folder, tokens)
    engine = load_engine(folder, Kind.READER, device=device)
    side, best = _products(device)
    rows: list[dict[str, Value]] = []
    for size in sorted({1, max(1, engine.max_tokens // tokens)}):
        rate = _rate(engine, _windows(folder, size, tokens), seconds)
        found = {"windows/s": rate, "ms a batch": 1000 * size / rate, "GFLOP/s": rate * operations / 1e9}
        rows.append({"what": f"{size} in a batch", **found, "of products": rate * operations / best})
    rows.append({"what": f"product of {side} x {side} matrices", "GFLOP/s": best / 1e9})
    settings: dict[str, Value] = {"model": name, "tokens": tokens, "GFLOP a window": round(operations / 1e9, 2)}
    return Report("forward", settings, rows, machine(device), {})


def _operations(folder: Path, tokens: int) -> float:
    """Additions and multiplications in the matrix products of one window through an encoder.

    A layer has `4 h^2 + 2 h m` weights, each used once for each token, and two products of tokens by tokens by `h`;
    `h` is the hidden size, `m` the intermediate one. Source: Vaswani et al. 2017, "Attention Is All You Need".
    """
    config = models.model_config(folder)
    sizes = [config.get(key) for key in ("num_hidden_layers", "hidden_size", "intermediate_size")]
    layers, hidden, inner = (size if isinstance(size, int) else 0 for size in sizes)
    if not layers * hidden * inner:
        raise BenchError(f"{folder} doesn't give its sizes as BERT does: its operations can't be counted.")
    most = config.get("max_position_embeddings")
    if isinstance(most, int) and tokens > most:
        raise BenchError(f"{folder} reads {most} tokens at most: give --tokens {most} or fewer.")
    return float(layers * tokens * 2 * (4 * hidden**2 + 2 * hidden * inner + 2 * tokens * hidden))


def _windows(folder: Path, size: int, tokens: int) -> TokenBatch:
    vocabulary = models.model_config(folder).get("vocab_size")
    known = vocabulary if isinstance(vocabulary, int) else 2
    shape = (size, tokens)
    ids = np.random.default_rng(0).integers(1, known, shape)
    return TokenBatch(ids, np.ones(shape, np.int64), np.zeros(shape, np.int64))


def _rate(engine: Engine, windows: TokenBatch, seconds: float) -> float:
    """Windows a second, after two batches to warm up."""
    for _ in range(2):
        engine.run(windows)
    runs, begin = 0, perf_counter()
    while (passed := perf_counter() - begin) < seconds or not runs:
        engine.run(windows)
        runs += 1
    return runs * len(windows.ids) / passed


def _products(device: str) -> tuple[int, float]:
    """Rows of square matrices, and the most operations a second that torch reached in multiplying two of them."""
    import torch

    gpu = device.startswith("cuda")
    side = _SIDES["cuda" if gpu else "cpu"]
    where = {"device": device, "dtype": torch.float16} if gpu else {"dtype": torch.float32}
    matrix = torch.randn(side, side, **where)
    wait: Callable[[], Any] = torch.cuda.synchronize if gpu else lambda: None
    times = []
    for _ in range(_PRODUCTS):
        wait()
        begin = perf_counter()
        matrix @ matrix
        wait()
        times.append(perf_counter() - begin)
    return side, 2 * side**3 / min(times)
