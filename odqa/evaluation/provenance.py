"""What a report must say about where its figures come from."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from odqa import __version__, models
from odqa.index import Index
from odqa.recipes import ReaderRecipe
from odqa.runtime import default_device

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "rouge-score")


@dataclass(frozen=True, slots=True)
class Provenance:
    """The model, the data, the settings and the machine behind a report.

    Attributes:
        model: Name or folder of the reader, or of the embedder where retrieval alone is evaluated.
        fingerprint: SHA-256 over the model's files.
        data: Name or path of the questions.
        data_sha256: Of the file; empty where it is none.
        available: Questions in the data; where the report has fewer, they were chosen at random.
        seed: Of that choice, of the intervals and of the examples.
        settings: The reader's recipe, or the retriever's.
        device: What the model ran on.
        versions: Of Python and the packages that can move a figure.
        command: As it was typed, where there was one.
    """

    model: str
    fingerprint: str
    data: str
    data_sha256: str
    available: int
    seed: int
    settings: Mapping[str, object]
    device: str
    versions: Mapping[str, str]
    command: str


@dataclass(frozen=True, slots=True)
class IndexUsed:
    """The index that was asked."""

    name: str
    generation: int
    documents: int
    passages: int
    embedder: str


def provenance(recipe: ReaderRecipe, data: str, *, available: int, seed: int = 0, command: str = "") -> Provenance:
    """Gather all that identifies an evaluation of a recipe's reader on `data`.

    Raises:
        ModelError: the recipe's model can't be found.
    """
    fingerprint = models.fingerprint(models.locate(recipe.model))
    settings = recipe.model_dump(mode="json")
    return gather(recipe.model, fingerprint, settings, data, available=available, seed=seed, command=command)


def gather(
    model: str,
    fingerprint: str,
    settings: Mapping[str, object],
    data: str,
    *,
    available: int,
    seed: int = 0,
    command: str = "",
) -> Provenance:
    """Add data, machine and versions to a model and its settings; see `Provenance`."""
    return Provenance(
        model=model,
        fingerprint=fingerprint,
        data=data,
        data_sha256=models.file_sha256(Path(data)) if Path(data).is_file() else "",
        available=available,
        seed=seed,
        settings=settings,
        device=_device(),
        versions={"odqa": __version__, "python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        command=command,
    )


def index_used(index: Index) -> IndexUsed:
    """What a report says of an index."""
    made = index.generation
    return IndexUsed(index.name, made.number, made.documents, len(index), made.embedder.name)


def _device() -> str:
    import torch

    if default_device() == "cuda":
        return str(torch.cuda.get_device_name())
    return f"CPU, {os.cpu_count()} processors ({platform.machine()})"
