"""Builders of tiny models with random, seeded weights: real formats, no meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForQuestionAnswering, BertModel

TEXTS = [
    "The Normans gave their name to Normandy, a region in France. They came from the north in the 10th century.",
    "Oxygen is a chemical element with symbol O. It was named by Antoine Lavoisier in 1777.",
    "A steam engine is a heat engine. Steam engines are external combustion engines.",
    "Warsaw is the capital of Poland. It stands on the Vistula River in the east of the country.",
    "The Rhine begins in the Swiss canton of Graubünden and flows to the North Sea.",
    "Imperialism is a policy of extending power. The word was used in the 19th century about empires.",
    "Rollo was a Viking who led the Normans. His descendants became dukes.",
    "Pressure and heat drive the piston. The engine does its work with steam from a boiler.",
]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def word_piece_tokenizer() -> Tokenizer:
    """A BERT tokenizer that knows some of the words above, and letters for all others."""
    words = sorted({word for text in TEXTS for word in re.findall(r"[a-z]{3,6}", text.lower())})
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?()'\"-"
    vocabulary = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = Tokenizer(
        models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _config(tokenizer: Tokenizer) -> BertConfig:
    return BertConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, initializer_range=0.5, **_SIZE
    )


def _save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128, "mask_token": "[MASK]", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def make_reader(folder: Path, *, seed: int = 0) -> Path:
    """A BERT reader whose logits are lively enough that spans differ."""
    torch.manual_seed(seed)
    tokenizer = word_piece_tokenizer()
    BertForQuestionAnswering(_config(tokenizer)).save_pretrained(folder)
    _save_tokenizer(tokenizer, folder)
    return folder


def make_embedder(folder: Path, *, seed: int = 0) -> Path:
    """A sentence-transformers model: BERT, mean pooling, normalised."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    torch.manual_seed(seed)
    tokenizer = word_piece_tokenizer()
    bare = folder / "bare"
    BertModel(_config(tokenizer)).save_pretrained(bare)
    _save_tokenizer(tokenizer, bare)
    transformer = Transformer(str(bare), max_seq_length=64)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"
