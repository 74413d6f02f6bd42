"""The embedder that training starts from: checked, loaded, and written with other weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odqa import models
from odqa.embedder import sentence_numbers
from odqa.errors import ConfigError, ModelError
from odqa.training.quiet import quiet

_DROPOUT = re.compile(r"dropout(_prob)?$")


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence-transformers model that was found fit; `max_length` is in tokens."""

    name: str
    folder: Path
    max_length: int


def open_encoder(name: str, max_length: int | None = None) -> Encoder:
    """Find a base model and check that it can be trained, with texts of `max_length` tokens or as many as it reads.

    A transformer that is not a sentence-transformers model gets mean pooling.

    Raises:
        ModelError: it can't be found or loaded, or is of another kind.
        ConfigError: it doesn't read that many tokens.
    """
    folder = models.locate(name)
    models.model_config(folder)
    model = load_encoder(folder)
    first = type(model[0]).__name__
    if first != "Transformer":
        raise ModelError(f"{folder} begins with the module {first}: a retriever is trained from a Transformer.")
    limit = int(model.max_seq_length)
    if max_length is not None and max_length > limit:
        raise ConfigError(f"{name} reads {limit} tokens, but the recipe asks for {max_length}. Lower max_length.")
    return Encoder(name, folder, limit if max_length is None else max_length)


def load_encoder(folder: Path, *, dropout: float | None = None) -> Any:
    """The sentence-transformers model in `folder`, in single precision on the CPU.

    Args:
        folder: The model's folder.
        dropout: Takes the place of every rate in its configuration; None leaves them.

    Raises:
        ModelError: it can't be loaded.
    """
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig

    try:
        with quiet():
            names = AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()
            rates = {} if dropout is None else {name: dropout for name in names if _DROPOUT.search(name)}
            return SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                config_kwargs=rates,
                model_kwargs={"dtype": "float32", "use_safetensors": True},
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"Can't load an embedder from {folder}: {str(error).splitlines()[0]}") from error


def tokenizer_of(
    model: Any, max_length: int, *, sentences: bool = False
) -> Callable[[Sequence[str], str], Mapping[str, Any]]:
    """A function from texts and their role, "query" or "document", to the tensors that the model takes.

    With `sentences` documents also get their tokens' sentences, int64 (texts, tokens), by number; -1 stands for none.
    A text without any is a sentence as a whole. Models that don't pool by the mean have no sentences.
    """
    sentences = sentences and _pools_sentences(model)

    def tokenize(texts: Sequence[str], role: str) -> Mapping[str, Any]:
        prompt = model.prompts.get(role) or ""
        apart = sentences and role == "document"
        found = model.tokenizer(
            [prompt + text for text in texts],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
            return_offsets_mapping=apart,
        )
        if apart:
            offsets = found.pop("offset_mapping") - len(prompt)
            found["sentences"] = _sentences(texts, offsets, found["attention_mask"])
        return dict(found)

    return tokenize


def _pools_sentences(model: Any) -> bool:
    """Whether `Embedder` pools sentences of such a model."""
    kinds = [type(module).__name__ for module in model]
    known = kinds[:2] == ["Transformer", "Pooling"] and kinds[2:] in ([], ["Normalize"])
    return known and model[1].pooling_mode == "mean"


def _sentences(texts: Sequence[str], offsets: Any, mask: Any) -> Any:
    import torch

    numbers = torch.from_numpy(np.stack([sentence_numbers(*one) for one in zip(texts, offsets.numpy(), strict=True)]))
    whole = (numbers < 0).all(dim=1, keepdim=True)
    return torch.where(whole, mask - 1, numbers)


def write_encoder(folder: Path, base: Encoder, weights: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a sentence-transformers folder: the base model with these weights, its own settings and tokenizer."""
    model = load_encoder(base.folder)
    model.load_state_dict(weights)
    with quiet():
        (model.half() if half else model).save(str(folder), create_model_card=False)
