"""Recipes (`pipelines/NAME.toml`) and index cards (`indexes/NAME.toml`): read, validated, found by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from odqa import config
from odqa.errors import ConfigError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mode(StrEnum):
    """Which sides of the index are asked."""

    DENSE = "dense"
    SPARSE = "sparse"
    HYBRID = "hybrid"


class Fusion(StrEnum):
    """How the two sides of a hybrid search become one score."""

    WEIGHTED = "weighted"
    RRF = "rrf"


class RetrieverRecipe(_Table):
    """How passages are found.

    A hybrid search's score is `dense_weight * cosine + sparse_weight * BM25 / the most it could reach`. The log-odds
    that a passage is the one asked about are `relevance_slope * score + relevance_intercept`; both are 0 where they
    were not fitted, which leaves the ranking of answers to the reader alone. `gpu` searches the vectors on a GPU.
    """

    mode: Annotated[Mode, Field(strict=False)] = Mode.HYBRID
    fusion: Annotated[Fusion, Field(strict=False)] = Fusion.WEIGHTED
    dense_weight: float = 1.0
    sparse_weight: float = 1.0
    top_k: Positive = 10
    candidates: Positive = 100
    relevance_slope: float = 0.0
    relevance_intercept: float = 0.0
    gpu: bool = False


class ReaderRecipe(_Table):
    """How passages are read. Lengths are in tokens; `doc_stride` is the overlap of neighbouring windows.

    A `null_threshold` holds for the margin; without one the calibration's holds, else the one that was tuned when the
    model was trained, else 0.
    """

    model: str
    max_length: Positive = 384
    doc_stride: Positive = 128
    max_answer_length: Positive = 30
    null_threshold: float | None = None
    n_best: Positive = 5

    @model_validator(mode="after")
    def _windows_hold_answers(self) -> ReaderRecipe:
        if self.doc_stride < self.max_answer_length:
            raise ValueError(
                f"doc_stride ({self.doc_stride}) must be at least max_answer_length ({self.max_answer_length}), "
                "or a window could cut an answer in two"
            )
        if self.max_length <= 2 * self.doc_stride:
            raise ValueError(f"max_length ({self.max_length}) must be more than twice doc_stride ({self.doc_stride})")
        return self


class TrainingRecipe(_Table):
    """How the reader is trained. `batch_size` is per device and step; see `effective_batch_size`.

    `evaluations` on held-out articles are spread evenly over the training, the best one's weights are kept, and
    `patience` of them in a row without a better one end it (0: never). `pad_to_multiple` is in tokens.
    `layer_decay` multiplies the rate once for each layer below the head (1: the same rate everywhere);
    `average_decay` keeps a moving average of the weights (0: none). `backtranslated_share` of the questions about
    back-translated text take part, and `backtranslated_weight` weighs their loss; `negative_share` of the answerable
    questions are also paired with another passage of their article, where they have no answer, and `swapped_share` of
    them asked with a name or number changed, so that they have none. `dropout` replaces all rates of the base model's
    own; 0 makes training on a CPU faster by half, mostly thanks to `attention_dropout = 0`. `freeze_embeddings` leaves
    the word embeddings as they are, `freeze_layers` so many layers above them. In the end `base_share` of each weight
    is the base model's, where that is a reader already.
    """

    base: str
    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Positive
    devices: Positive = 1
    accumulation: Positive = 1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_share: Share = 0.0
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    seed: Annotated[int, Field(ge=0)] = 42
    evaluations: Positive = 10
    patience: Annotated[int, Field(ge=0)] = 0
    group_by_length: bool = True
    pad_to_multiple: Positive = 32
    freeze_embeddings: bool = False
    freeze_layers: Annotated[int, Field(ge=0)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    backtranslated_share: Share = 1.0
    backtranslated_weight: Share = 1.0
    negative_share: Share = 0.0
    swapped_share: Share = 0.0
    base_share: Share = 0.0

    @model_validator(mode="after")
    def _one_warmup(self) -> TrainingRecipe:
        if self.warmup_steps and self.warmup_share:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) and warmup_share ({self.warmup_share}) exclude each other"
            )
        return self

    @property
    def effective_batch_size(self) -> int:
        """Windows that one optimiser step sees over all devices."""
        return self.batch_size * self.devices * self.accumulation


class Negatives(StrEnum):
    """Who finds the hard negatives: the terms, the untrained model, or the two in turn."""

    BM25 = "bm25"
    DENSE = "dense"
    BOTH = "both"


class RetrieverTrainingRecipe(_Table):
    """How the embedder is trained, on one device. `batch_size` is in passages, each with `questions` asked about it.

    A question is to tell its passage from all others of its batch: the scores that the pipeline ranks by, times
    `scale`, go into a softmax. A passage with more than `questions` comes more than once in an epoch (0: all stand
    together). Passages come in groups of `group_size` of one article, which are the hardest to tell apart.
    `hard_negatives` for each question (0: none) are the best passages that `negatives_from` finds and that hold none
    of its answers. Texts are cut after `max_length` tokens in training, where None after as many as the model reads.
    `evaluations` on held-out articles are spread evenly, the best one's weights are kept, and `patience` of them in a
    row without a better one end the training (0: never). `backtranslated_share` of the questions about
    back-translated text take part. `freeze_embeddings` leaves the word embeddings as they are; `dropout` replaces all
    rates of the base model's own, and 0 makes training on a CPU much faster. In the end `base_share` of each weight is
    the base model's: what is learnt costs less of what that knew about other texts.
    """

    base: str
    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(ge=2)]
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    seed: Annotated[int, Field(ge=0)] = 42
    scale: Annotated[float, Field(gt=0)] = 20.0
    questions: Annotated[int, Field(ge=0)] = 1
    group_size: Positive = 1
    hard_negatives: Annotated[int, Field(ge=0)] = 1
    negatives_from: Annotated[Negatives, Field(strict=False)] = Negatives.BOTH
    max_length: Positive | None = None
    evaluations: Positive = 5
    patience: Annotated[int, Field(ge=0)] = 0
    freeze_embeddings: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    backtranslated_share: Share = 1.0
    base_share: Share = 0.0


class ExpectedScores(_Table):
    """Percent on SQuAD v2 dev, where they come from, and how far a rerun may fall below."""

    exact: float
    f1: float
    HasAns_exact: float | None = None
    HasAns_f1: float | None = None
    NoAns_exact: float | None = None
    tolerance: Annotated[float, Field(gt=0)] = 1.0
    source: str


class Pipeline(_Table):
    """A recipe: an index, a retriever, a reader, and what they are expected to reach.

    `calibration` is the path of what `odqa calibrate` wrote; without it the one beside the reader holds, where there is
    one that was fitted with this retriever.
    """

    description: str
    index: str = "squad2-dev"
    retriever: RetrieverRecipe = RetrieverRecipe()
    reader: ReaderRecipe
    calibration: str | None = None
    training: TrainingRecipe | None = None
    retriever_training: RetrieverTrainingRecipe | None = None
    expected: ExpectedScores | None = None


class PassageCard(_Table):
    """How documents are cut. Lengths are in the embedder's tokens; 0 stands for all that the embedder reads."""

    max_tokens: Annotated[int, Field(ge=0)] = 0
    overlap: Annotated[int, Field(ge=0)] = 32


class TermsCard(_Table):
    """How text becomes the terms of BM25; `stemmer` and `stop_words` are languages, or empty for none.

    `pairs` is the weight of pairs of neighbouring words against single ones; 0 leaves them out, and the terms of an
    index become several times smaller.
    """

    stemmer: str = "english"
    stop_words: str = "english"
    pairs: Annotated[float, Field(ge=0)] = 0.3
    k1: Annotated[float, Field(ge=0)] = 1.5
    b: Share = 0.75


class Card(_Table):
    """What an index is made of and how. `recall` is the recall@10 that an approximate `factory` is tuned to.

    With `sentences` the vectors of each passage's sentences are stored, too, and its dense score is its best one's.
    """

    description: str = ""
    source: str = ""
    format: str = ""
    licence: str = ""
    columns: dict[str, str] = {}
    embedder: str = "minilm-l6-retriever"
    factory: str = "Flat"
    recall: Share = 0.95
    sentences: bool = True
    passages: PassageCard = PassageCard()
    terms: TermsCard = TermsCard()


M = TypeVar("M", bound=_Table)


def load_pipeline(name_or_path: str) -> Pipeline:
    """The recipe of that name, or in that `.toml` file.

    Raises:
        ConfigError: not found, not TOML, or a key or value is wrong.
    """
    return _load(Pipeline, "pipelines", name_or_path)


def load_card(name_or_path: str) -> Card:
    """The index card of that name, or in that `.toml` file.

    Raises:
        ConfigError: not found, not TOML, or a key or value is wrong.
    """
    return _load(Card, "indexes", name_or_path)


def changed(table: M, instead: Mapping[str, object]) -> M:
    """A table with other values in place of its own; those that are None leave them."""
    return type(table).model_validate(
        table.model_dump() | {key: value for key, value in instead.items() if value is not None}
    )


def find(kind: str, name_or_path: str) -> Path:
    """The file behind a built-in name (`kind` is `pipelines` or `indexes`) or a path that ends in .toml."""
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    return config.builtin_folder(kind) / f"{config.check_name(name_or_path, 'a recipe or card')}.toml"


def names(kind: str) -> list[str]:
    """The built-in names of that kind, sorted."""
    return sorted(path.stem for path in config.builtin_folder(kind).glob("*.toml"))


def _load(model: type[M], kind: str, name_or_path: str) -> M:
    path = find(kind, name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(names(kind)) or "none"
        raise ConfigError(f'No {_SINGULAR[kind]} "{name_or_path}". Built in: {known}; or give a .toml file.') from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Can't read {path}: {error}") from error
    return parse(model, text, str(path))


_SINGULAR = {"pipelines": "pipeline", "indexes": "index card"}


def parse(model: type[M], text: str, where: str) -> M:
    """Validate TOML against one of this module's records; `where` names the text in errors.

    Raises:
        ConfigError: naming the first key or value that is wrong, and for a key the nearest known one.
    """
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        raise ConfigError(f"{where}: {_explain(model, details[0])}.") from None


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f'"{place}" is missing'
    if detail["type"] != "extra_forbidden":
        message = detail["msg"].removeprefix("Value error, ")
        if isinstance(detail["input"], (str, int, float)):
            return f"{place} = {detail['input']!r}: {message}"
        return message
    known = list(_table_at(model, [str(part) for part in detail["loc"][:-1]]).model_fields)
    near = get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f'the nearest known one is "{near[0]}"' if near else f"known here: {', '.join(known)}"
    return f'unknown key "{place}"; {hint}'


def _table_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    for key in keys:
        annotation = model.model_fields[key].annotation
        candidates = get_args(annotation) if get_args(annotation) else (annotation,)
        model = next(part for part in candidates if isinstance(part, type) and issubclass(part, BaseModel))
    return model
