"""Text to unit vectors, with a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odqa import models, progress
from odqa.errors import ModelError
from odqa.runtime import default_device

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_STEP = 256


class Embedder:
    """A sentence-transformers model; what it embeds has length 1."""

    def __init__(self, name: str | Path, *, device: str | None = None) -> None:
        """Load a model by its name or folder.

        Raises:
            ModelError: it can't be found or loaded.
        """
        self.name = str(name)
        folder = models.locate(self.name)
        self.fingerprint = models.fingerprint(folder)
        self._model = _load(folder, default_device() if device is None else device)
        self.dimension = int(self._model.get_embedding_dimension())
        if not self._model[0].tokenizer.is_fast:
            raise ModelError(f"{folder} has no fast tokenizer (tokenizer.json), which cutting passages needs.")

    @property
    def tokenizer(self) -> Tokenizer:
        """A copy of the model's tokenizer, which cuts nothing and pads nothing."""
        from tokenizers import Tokenizer

        copy = Tokenizer.from_str(self._model[0].tokenizer.backend_tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        return copy

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, special tokens not counted."""
        return int(self._model.max_seq_length) - self.tokenizer.num_special_tokens_to_add(is_pair=False)

    def embed_questions(self, questions: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (questions, dimensions)."""
        return self._encode(self._model.encode_query, questions)

    def embed_passages(self, passages: Sequence[str], *, description: str = "Embedding") -> NDArray[np.float32]:
        """Unit vectors, float32 (passages, dimensions). Equal texts are embedded once."""
        unique = {text: row for row, text in enumerate(dict.fromkeys(passages))}
        texts = sorted(unique, key=len, reverse=True)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with progress.bar(description, total=len(texts), unit="passages") as tick:
            for at in range(0, len(texts), _STEP):
                step = texts[at : at + _STEP]
                vectors[[unique[text] for text in step]] = self._encode(self._model.encode_document, step)
                tick.advance(len(step))
        return vectors[[unique[text] for text in passages]]

    def _encode(self, encode: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        found = encode(list(texts), normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(found, dtype=np.float32)


def _load(folder: Path, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        with models.quiet():
            return SentenceTransformer(str(folder), device=device, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"Can't load an embedder from {folder}: {str(error).splitlines()[0]}") from error
