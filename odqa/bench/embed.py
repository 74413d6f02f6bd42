"""Passages to vectors: odqa's embedder, sentence-transformers' `encode` beside it, and peers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import models
from odqa.bench import peers, work
from odqa.bench.machine import machine
from odqa.bench.report import Report, Value
from odqa.bench.rounds import Contestant, Local, Measured, compete
from odqa.embedder import Embedder
from odqa.runtime import OPENVINO, default_device

Vectors = NDArray[np.float32]


def measure(
    model: str,
    *,
    data: str | None = None,
    passages: int = 500,
    rounds: int = 3,
    device: str | None = None,
    against: Sequence[str] = (),
) -> Report:
    """Embed the same texts in turns with odqa, with sentence-transformers at its defaults, and with peers.

    Args:
        model: A sentence-transformers model.
        data: A source of documents; the bundled corpus where None.
        passages: Texts to embed.
        rounds: Times that each embeds all of them.
        device: Where odqa's models run; see `odqa.runtime`.
        against: Interpreters whose peers take part.

    Returns:
        Rates, each with the ratio of odqa's to it and the mean cosine between its vectors and odqa's.

    Raises:
        ModelError: the model can't be loaded.
        BenchError: an interpreter has no peer, or there is no text.
    """
    found = [peers.installed(python, "embed") for python in against]
    texts = work.texts(data, passages)
    embedder = Embedder(model, device=device)
    folder, there = models.locate(model), torch_device(device)
    own: list[Contestant[str, Vectors]] = [
        Local("odqa", embedder.embed_passages),
        _sentence_transformers(folder, there),
    ]
    with peers.started(found, {"model": str(folder), "device": there}, _array) as (others, failed):
        measured = compete([*own, *others], texts, rounds=rounds)
    rows = [_row(one, measured[0], len(texts)) for one in measured]
    settings: dict[str, Value] = {"model": model, "passages": len(texts), "rounds": rounds}
    settings |= threads(others)
    return Report("embed", settings, rows, machine(device), failed)


def torch_device(device: str | None) -> str:
    """Where torch runs when odqa's models run on `device`."""
    chosen = default_device() if device is None else device
    return "cpu" if chosen == OPENVINO else chosen


def _sentence_transformers(folder: Path, device: str) -> Local[str, Vectors]:
    from sentence_transformers import SentenceTransformer

    with models.quiet():
        model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    return Local(
        "sentence-transformers, here", lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False))
    )


def _row(one: Measured[Vectors], odqa: Measured[Vectors], count: int) -> dict[str, Value]:
    return {
        "what": one.name,
        "passages/s": count / one.seconds,
        "odqa's ratio": one.seconds / odqa.seconds,
        "cosine": mean_cosine(one.found, odqa.found),
    }


def mean_cosine(first: Vectors, second: Vectors) -> float:
    """The mean cosine between rows of the same number."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(np.mean(np.einsum("nd,nd->n", first, second) / lengths))


def _array(found: Any) -> Vectors:
    return np.asarray(found, dtype=np.float32)


def threads(others: Sequence[peers.Peer[Any, Any]]) -> dict[str, Value]:
    """Threads of torch, here and in each peer."""
    import torch

    here = {"torch threads": torch.get_num_threads()}
    return {**here, **{f"threads of {peer.name}": peer.threads for peer in others}}
