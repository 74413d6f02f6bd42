"""Windows: question + slice of passage that fits the model, neighbours sharing `doc_stride` tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from odqa import models
from odqa.errors import ModelError, QuestionError
from odqa.text import broken_at


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the reader.

    Attributes:
        pair: Which question-passage pair it belongs to.
        ids: Token ids, special tokens included.
        segments: 0 for the question's tokens, 1 for the passage's, where the model's tokenizer says so.
        offsets: int64 (passage tokens, 2), each token's characters in the passage.
        first: Position of the passage's first token in `ids`; the rest follow without a gap.
    """

    pair: int
    ids: list[int]
    segments: list[int]
    offsets: NDArray[np.int64]
    first: int

    @property
    def stop(self) -> int:
        """Position in `ids` after the passage's last token."""
        return self.first + len(self.offsets)


class Windower:
    """Cuts question-passage pairs into windows with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, doc_stride: int) -> None:
        """Take `tokenizer` over; lengths are in tokens, special tokens included in `max_length`."""
        tokenizer.no_padding()
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.no_truncation()
        tokenizer.enable_truncation(max_length, stride=doc_stride, strategy="only_second")
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.max_question_length = max_length - doc_stride - 1 - tokenizer.num_special_tokens_to_add(is_pair=True)

    def windows(self, pairs: Sequence[tuple[str, str]]) -> list[Window]:
        """All windows of all (question, passage) pairs, in order. A passage without a token has none.

        Raises:
            QuestionError: a question is empty or too long for a window, or a text is none.
        """
        for question in dict.fromkeys(question for question, _ in pairs):
            self.check_question(question)
        for passage in dict.fromkeys(passage for _, passage in pairs):
            _check_text(passage, "context")
        encodings = self._tokenizer.encode_batch(list(pairs))
        return [window for pair, encoding in enumerate(encodings) for window in _windows(pair, encoding)]

    def check_question(self, question: str) -> None:
        """Raise a QuestionError where no window could hold the question and a piece of passage."""
        if not question.strip():
            raise QuestionError("The question is empty. Ask something.")
        _check_text(question, "question")
        length = len(self._plain.encode(question, add_special_tokens=False))
        if length > self.max_question_length:
            raise QuestionError(
                f"The question has {length} tokens, but at most {self.max_question_length} fit beside a piece of "
                f"passage in a window of {self._max_length}. Shorten it."
            )


def _check_text(text: str, what: str) -> None:
    """Raise a QuestionError where a text holds half of a surrogate pair, as badly decoded ones do."""
    if (at := broken_at(text)) is not None:
        raise QuestionError(
            f"The {what} is no valid text: character {at + 1} is half of a surrogate pair. Is it UTF-8?"
        )


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer in a model's folder; one that has only a vocabulary is built from it.

    Raises:
        ModelError: there is none, its vocabulary is missing or another model's, it can't say where its tokens stand
            in the text, or it puts no special token first, where "no answer" is scored.
    """
    path = folder / "tokenizer.json"
    tokenizer = _from_file(path) if path.is_file() else _from_vocabulary(folder)
    known = models.model_config(folder).get("vocab_size")
    if isinstance(known, int):
        check_vocabulary(tokenizer, known, folder)
    if tokenizer.encode("a", "a").special_tokens_mask[:1] != [1]:
        raise ModelError(
            f'The tokenizer in {folder} puts no special token before the question, so "no answer" has no place to be '
            "scored at. Use the model's own tokenizer with its post-processor."
        )
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, known: int, folder: Path) -> None:
    """Raise a ModelError where a tokenizer has not the vocabulary of the model in `folder`, which knows `known` tokens.

    A model may know more tokens than there are, since embeddings are padded, but not more than twice as many:
    transformers makes a tokenizer of special tokens alone where the vocabulary's files are missing.
    """
    size = tokenizer.get_vocab_size()
    if size > known:
        raise ModelError(
            f"The tokenizer in {folder} has {size} tokens, its embeddings only {known}. Use the model's own tokenizer."
        )
    if size < known // 2:
        raise ModelError(
            f"The tokenizer in {folder} has {size} tokens, but the model knows {known}: its vocabulary is missing. "
            "Put tokenizer.json or the vocabulary's files beside the weights."
        )


def _from_file(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(f"Can't load the tokenizer {path}: {error}") from None


def _from_vocabulary(folder: Path) -> Tokenizer:
    from importlib import import_module

    auto: Any = import_module("transformers").AutoTokenizer
    try:
        slow = auto.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{folder} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None
    if not getattr(slow, "is_fast", False):
        raise ModelError(
            f"The tokenizer in {folder} gives no character offsets, so answers could not be placed. "
            "Use a model with a fast tokenizer (tokenizer.json)."
        )
    return Tokenizer.from_str(slow.backend_tokenizer.to_str())


def _windows(pair: int, encoding: Encoding) -> Iterator[Window]:
    for piece in (encoding, *encoding.overflowing):
        places = [place for place, sequence in enumerate(piece.sequence_ids) if sequence == 1]
        if places:
            first, stop = places[0], places[-1] + 1
            offsets = np.asarray(piece.offsets[first:stop], dtype=np.int64)
            yield Window(pair, piece.ids, piece.type_ids, offsets, first)
