"""The encoder that training starts from: checked, loaded with a fresh head, and written as a reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from odqa import models
from odqa.errors import ModelError
from odqa.reader.windows import Windower, check_vocabulary, load_tokenizer
from odqa.recipes import ReaderRecipe
from odqa.training.quiet import quiet

KINDS = ("bert", "albert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mobilebert", "deberta-v2")
"""Encoders, by their `model_type`, whose question answering head gives one start and one end logit a token."""

_DROPOUT = re.compile(r"dropout(_prob)?$")
_HEAD = "qa_outputs"
_CASED_SHARE = 0.02
_TOKENIZER_RUN_KEYS = {"max_length", "stride", "truncation_side", "truncation_strategy", "pad_to_multiple_of"}
_TOKENIZER_RUN_KEYS |= {"is_local", "local_files_only"}
_SPECIAL_TOKENS = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that was found fit: `config` is transformers' own, `tokenizer` neither pads nor truncates."""

    name: str
    folder: Path
    config: Any
    tokenizer: Tokenizer

    @property
    def segments(self) -> bool:
        """Whether the model tells the question from the passage by segment ids."""
        return (getattr(self.config, "type_vocab_size", 0) or 0) > 1

    @property
    def pad_id(self) -> int:
        """The token id to pad with."""
        return self.config.pad_token_id or 0

    def windower(self, recipe: ReaderRecipe) -> Windower:
        """The windows that the trained reader will see."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        return Windower(copy, max_length=recipe.max_length, doc_stride=recipe.doc_stride)


def open_base(name: str, recipe: ReaderRecipe) -> Base:
    """Find a base model and check that a reader can be trained from it, without loading its weights.

    Raises:
        ModelError: it can't be found, is of another kind, or its tokenizer doesn't serve a reader.
    """
    from transformers import AutoConfig

    folder = models.locate(name)
    settings = models.model_config(folder)
    kind = _kind(folder, settings)
    with quiet():
        config = AutoConfig.for_model(kind, **{key: value for key, value in settings.items() if key != "model_type"})
        tokenizer = _tokenizer(folder, config, named="model_type" in settings)
    base = Base(name, folder, config, tokenizer)
    _check_length(base, recipe)
    _check_tokenizer(base)
    return base


def check_head(base: Base) -> None:
    """See that the base model is a reader already, so that a share of its weights can be kept.

    Raises:
        ModelError: it has no question answering head.
    """
    if not any(name.startswith(_HEAD) for name in _weight_names(base.folder)):
        raise ModelError(
            f"{base.name} has no question answering head, so base_share can't keep any of it. "
            "Set base_share to 0, or begin from a trained reader."
        )


def load_model(base: Base, *, dropout: float | None = None, attention_dropout: float | None = None) -> Any:
    """The base model under a question answering head; the head is drawn from torch's generator where it is new.

    Args:
        base: The base model.
        dropout: Takes the place of every rate in its configuration; None leaves them.
        attention_dropout: The rate for attention's probabilities alone, where it is another.

    Raises:
        ModelError: the weights don't fit the configuration.
    """
    import torch
    from transformers import AutoModelForQuestionAnswering

    config = deepcopy(base.config)
    names = [name for name in config.to_dict() if _DROPOUT.search(name)]
    if dropout is not None:
        config.update(dict.fromkeys(names, dropout))
    if attention_dropout is not None:
        config.update({name: attention_dropout for name in names if "attention" in name})
    options = {"config": config, "dtype": "float32", "local_files_only": True}
    if not torch.accelerator.is_available():  # a CPU's bf16 trains nearly twice as fast as with the fused kernel
        options["attn_implementation"] = "eager"
    try:
        with quiet():
            model, info = AutoModelForQuestionAnswering.from_pretrained(
                base.folder, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"Can't load the base model {base.folder}: {str(error).splitlines()[0]}") from error
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(_HEAD))
    if missing:
        raise ModelError(
            f"{base.folder} lacks {len(missing)} weights of its own configuration, {missing[0]} first. Get it anew."
        )
    return model


def write_reader(folder: Path, base: Base, weights: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a model folder that the reader opens: weights as safetensors, configuration and tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES as CLASSES

    folder.mkdir(parents=True)
    dtype = torch.float16 if half else torch.float32
    kept = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    made = {"architectures": [CLASSES[base.config.model_type]], "dtype": "float16" if half else "float32"}
    settings = base.config.to_diff_dict() | made
    _write_json(folder / "config.json", {key: value for key, value in settings.items() if not key.startswith("_")})
    base.tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_settings(base))


def _kind(folder: Path, settings: Mapping[str, object]) -> str:
    """The model type; old checkpoints don't name theirs, but their weights do (`bert.embeddings...`)."""
    kind = settings.get("model_type") or _kind_of_weights(folder)
    if kind not in KINDS:
        raise ModelError(f"{folder} is of kind {kind!r}: a reader is trained from one of {', '.join(KINDS)}.")
    return str(kind)


def _kind_of_weights(folder: Path) -> str | None:
    prefixes = {name.split(".")[0].replace("_", "-") for name in _weight_names(folder)}
    return next((kind for kind in KINDS if kind in prefixes), None)


def _weight_names(folder: Path) -> Iterator[str]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            yield from file.keys()


def _tokenizer(folder: Path, config: Any, *, named: bool) -> Tokenizer:
    known = named or (folder / "tokenizer.json").is_file()
    tokenizer = load_tokenizer(folder) if known else _from_vocabulary(folder, config)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return _kept_case(tokenizer)


def _from_vocabulary(folder: Path, config: Any) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None
    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())


def _kept_case(tokenizer: Tokenizer) -> Tokenizer:
    """Old cased checkpoints don't say that they are cased, so that BERT's default would lower-case their text."""
    names = [token for token in tokenizer.get_vocab() if not token.startswith("[")]
    cased = sum(token != token.lower() for token in names) > _CASED_SHARE * len(names)
    normalizer = tokenizer.normalizer
    if cased and isinstance(normalizer, normalizers.BertNormalizer) and normalizer.lowercase:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    return tokenizer


def _tokenizer_settings(base: Base) -> dict[str, object]:
    path = base.folder / "tokenizer_config.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    vocabulary = base.tokenizer.get_vocab()
    special = {name: text for name, texts in _SPECIAL_TOKENS.items() for text in texts if text in vocabulary}
    settings = special | {key: value for key, value in found.items() if key not in _TOKENIZER_RUN_KEYS}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": _positions(base.config)}
    lowercase = getattr(base.tokenizer.normalizer, "lowercase", None)
    return settings if lowercase is None else settings | {"do_lower_case": lowercase}


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _positions(config: Any) -> int:
    """Tokens that the model has positions for; RoBERTa's count begins after the padding's."""
    offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return int(config.max_position_embeddings) - offset


def _check_length(base: Base, recipe: ReaderRecipe) -> None:
    if recipe.max_length > _positions(base.config):
        raise ModelError(
            f"{base.name} reads {_positions(base.config)} tokens, but the recipe asks for windows of "
            f"{recipe.max_length}. Lower max_length."
        )


def _check_tokenizer(base: Base) -> None:
    check_vocabulary(base.tokenizer, int(base.config.vocab_size), base.folder)
    pair = base.tokenizer.encode("a", "a")
    if not pair.sequence_ids or pair.sequence_ids[0] is not None:
        raise ModelError(
            f"The tokenizer of {base.name} puts no special token before the question, so that "
            '"no answer" has no place. Use one with a post-processor ([CLS], <s>).'
        )
