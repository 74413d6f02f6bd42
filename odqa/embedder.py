"""Text to unit vectors, with a sentence-transformers model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from odqa import models, progress
from odqa.errors import ModelError
from odqa.runtime import OPENVINO, Kind, default_device, load_engine, pad, token_batches
from odqa.text import sentences

_STEP = 256
_SENTENCE_TOKENS = 3
"""A sentence has at least so many; what is shorter, such as the number of a list's item, says too little."""

_States = tuple[NDArray[np.int64], Sequence[Encoding], NDArray[np.float32], NDArray[np.int64]]
"""Rows of a batch, their encodings, the states of their tokens, and which of these are no padding."""


class Embedder:
    """A sentence-transformers model; what it embeds has length 1."""

    def __init__(self, name: str | Path, *, device: str | None = None) -> None:
        """Load a model by its name or folder.

        Models of a transformer, mean or first-token pooling and normalisation run on odqa's own engines; others on
        sentence-transformers.

        Raises:
            ModelError: it can't be found or loaded.
        """
        folder = models.locate(str(name))
        self.name = models.durable(str(name))
        self.fingerprint = models.fingerprint(folder)
        recipe = _recipe(folder)
        self._encoder: _Encoder = _Foreign(folder, device) if recipe is None else _Pooled(folder, recipe, device)
        self.dimension = self._encoder.dimension

    @property
    def tokenizer(self) -> Tokenizer:
        """A copy of the model's tokenizer, which cuts nothing and pads nothing."""
        copy = Tokenizer.from_str(self._encoder.tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        return copy

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, special tokens not counted."""
        return self._encoder.max_length - self._encoder.tokenizer.num_special_tokens_to_add(is_pair=False)

    def embed_questions(self, questions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (questions, dimensions)."""
        return self._encoder.encode(questions, "query", lambda _: None)

    def embed_passages(self, passages: Sequence[str], *, description: str = "Embedding") -> NDArray[np.float32]:
        """Unit vectors, float32 (passages, dimensions). Equal texts are embedded once."""
        unique = {text: row for row, text in enumerate(dict.fromkeys(passages))}
        with progress.bar(description, total=len(unique), unit="passages") as tick:
            vectors = self._encoder.encode(list(unique), "document", tick.advance)
        return vectors[[unique[text] for text in passages]]

    def embed_sentences(
        self, passages: Sequence[str], *, description: str = "Embedding"
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """What `embed_passages` gives, and unit vectors of each passage's sentences, float32 (sentences, dimensions).

        A sentence's vector is pooled from its tokens' states in the whole passage, so that it costs no more. A passage
        has at least one: its own vector, where it has no longer sentence or the model doesn't pool by the mean.
        Source: Günther et al. 2024, "Late chunking: contextual chunk embeddings using long-context embedding models".
        """
        unique = {text: row for row, text in enumerate(dict.fromkeys(passages))}
        with progress.bar(description, total=len(unique), unit="passages") as tick:
            vectors, parts = self._encoder.encode_sentences(list(unique), tick.advance)
        rows = [unique[text] for text in passages]
        return vectors[rows], [parts[row] for row in rows]


def sentence_numbers(text: str, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each token's sentence in `text`, int64 (tokens,), from `offsets`, int64 (tokens, 2).

    It is -1 where the sentence has too few tokens to be embedded, and for tokens without characters of the text, as
    special ones are.
    """
    real = (offsets[:, 0] >= 0) & (offsets[:, 1] > offsets[:, 0])
    begins = [begin for begin, _ in sentences(text)]
    numbers = np.searchsorted(begins, offsets[:, 0], side="right") - 1
    counts = np.bincount(numbers[real], minlength=len(begins))
    return np.where(real & np.isin(numbers, np.flatnonzero(counts >= _SENTENCE_TOKENS)), numbers, -1)


class _Encoder(Protocol):
    dimension: int
    max_length: int
    tokenizer: Tokenizer

    def encode(self, texts: Sequence[str], role: str, done: Callable[[int], None]) -> NDArray[np.float32]:
        """Unit vectors of queries or documents; `done` is told how many more are finished."""

    def encode_sentences(
        self, texts: Sequence[str], done: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors of documents, and those of each one's sentences."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What sentence-transformers' files say of a model that odqa can run itself."""

    pooling: str
    dimension: int
    max_length: int
    prompts: dict[str, str]


class _Pooled:
    """A transformer's states, pooled and normalised, on one of odqa's engines."""

    def __init__(self, folder: Path, recipe: _Recipe, device: str | None) -> None:
        self.dimension = recipe.dimension
        self.max_length = recipe.max_length
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(recipe.max_length)
        self._recipe = recipe
        self._engine = load_engine(folder, Kind.ENCODER, device=device)
        self._pad_id = models.pad_id(folder)

    def encode(self, texts: Sequence[str], role: str, done: Callable[[int], None]) -> NDArray[np.float32]:
        """See `_Encoder`."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, _, states, mask in self._states(texts, self._prompt(role)):
            vectors[rows] = self._pool(states, mask)
            done(len(rows))
        return vectors

    def encode_sentences(
        self, texts: Sequence[str], done: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """See `_Encoder`."""
        prompt = self._prompt("document")
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        parts = dict[int, NDArray[np.float32]]()
        for rows, encodings, states, mask in self._states(texts, prompt):
            vectors[rows] = self._pool(states, mask)
            for row, encoding, state in zip(rows, encodings, states, strict=True):
                offsets = np.array(encoding.offsets) - len(prompt)
                parts[row] = self._sentences(texts[row], offsets, state[: len(offsets)], vectors[row])
            done(len(rows))
        return vectors, [parts[row] for row in range(len(texts))]

    def _prompt(self, role: str) -> str:
        return self._recipe.prompts.get(role) or ""

    def _states(self, texts: Sequence[str], prompt: str) -> Iterator[_States]:
        encodings = self.tokenizer.encode_batch([prompt + text for text in texts])
        for rows in token_batches([len(encoding.ids) for encoding in encodings], self._engine.max_tokens):
            chosen = [encodings[row] for row in rows]
            batch = pad([one.ids for one in chosen], [one.type_ids for one in chosen], self._pad_id)
            (states,) = self._engine.run(batch)
            yield rows, chosen, states, batch.mask

    def _sentences(
        self, text: str, offsets: NDArray[np.int64], states: NDArray[np.float32], whole: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Mean states of the tokens of each sentence, scaled to length 1."""
        if self._recipe.pooling != "mean":
            return whole[None]
        numbers = sentence_numbers(text, offsets)
        pooled = (np.unique(numbers[numbers >= 0])[:, None] == numbers).astype(np.float32) @ states
        found = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return found if len(found) else whole[None]

    def _pool(self, states: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean of the real tokens' states, or the first token's; scaled to length 1."""
        pooled = states[:, 0] if self._recipe.pooling == "cls" else np.einsum("rtd,rt->rd", states, mask / 1.0)
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), dtype=np.float32)


class _Foreign:
    """Any other sentence-transformers model."""

    def __init__(self, folder: Path, device: str | None) -> None:
        chosen = default_device() if device is None else device
        self._model = _load(folder, "cpu" if chosen == OPENVINO else chosen)
        self.dimension = int(self._model.get_embedding_dimension())
        self.max_length = int(self._model.max_seq_length)
        if not self._model[0].tokenizer.is_fast:
            raise ModelError(f"{folder} has no fast tokenizer (tokenizer.json), which cutting passages needs.")
        self.tokenizer = Tokenizer.from_str(self._model[0].tokenizer.backend_tokenizer.to_str())

    def encode(self, texts: Sequence[str], role: str, done: Callable[[int], None]) -> NDArray[np.float32]:
        """See `_Encoder`."""
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for at in range(0, len(order), _STEP):
            rows = order[at : at + _STEP]
            step = [texts[row] for row in rows]
            vectors[rows] = encode(step, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
            done(len(rows))
        return vectors

    def encode_sentences(
        self, texts: Sequence[str], done: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """See `_Encoder`."""
        vectors = self.encode(texts, "document", done)
        return vectors, list(vectors[:, None])


def _load(folder: Path, device: str) -> Any:
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        with models.quiet():
            return SentenceTransformer(str(folder), device=device, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"Can't load an embedder from {folder}: {str(error).splitlines()[0]}") from error


def _recipe(folder: Path) -> _Recipe | None:
    """What to do with a model's states, or None where that is more than odqa knows."""
    modules = _json(folder / "modules.json")
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules] if isinstance(modules, list) else []
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]) or modules[0]["path"]:
        return None
    pooling = _json(folder / modules[1]["path"] / "config.json")
    settings = _json(folder / "config_sentence_transformers.json")
    length = _max_length(folder)
    known = (
        _pooling(pooling) in ("mean", "cls")
        and pooling.get("include_prompt", True)
        and not settings.get("default_prompt_name")
        and not _json(folder / "sentence_bert_config.json").get("do_lower_case")
        and (folder / "tokenizer.json").is_file()
    )
    if not known or length is None:
        return None
    dimension = pooling.get("embedding_dimension") or pooling["word_embedding_dimension"]
    return _Recipe(_pooling(pooling), int(dimension), length, settings.get("prompts") or {})


def _pooling(config: dict[str, Any]) -> str:
    """The one pooling mode, in the present form of its file or in the older one with a flag for each mode."""
    if isinstance(config.get("pooling_mode"), str):
        return str(config["pooling_mode"])
    modes = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    chosen = [name for name, value in config.items() if name.startswith("pooling_mode") and value]
    return modes.get(chosen[0], "") if len(chosen) == 1 else ""


def _max_length(folder: Path) -> int | None:
    positions = models.model_config(folder).get("max_position_embeddings")
    named = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    limit = named or _json(folder / "tokenizer_config.json").get("model_max_length")
    if not isinstance(limit, int) or not isinstance(positions, int):
        return None
    return min(limit, positions)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
