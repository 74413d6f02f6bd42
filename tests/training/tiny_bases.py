"""Tiny seeded encoders of each architecture, with a tokenizer of its own kind, and a data set that they can learn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, ascii_lowercase
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertModel, BertConfig, BertForMaskedLM, BertModel, RobertaConfig, RobertaModel

NAMES = ["Anna", "Bertil", "Carlo", "Dora", "Emil", "Frida", "Gustav", "Hanna"]
TOWNS = ["Oslo", "Lisbon", "Vienna", "Dublin", "Warsaw", "Madrid", "Athens", "Prague"]
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "initializer_range": 0.2,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def paragraph(row: int) -> tuple[str, str, str]:
    """(context, name, town) of one fact, with the town of somebody else beside it."""
    name, other = NAMES[row % 8], NAMES[(row + 3) % 8]
    town, elsewhere = TOWNS[(row * 3) % 8], TOWNS[(row * 3 + row // 8 + 1) % 8]
    return f"{name} lives in {town}. {other} once saw {elsewhere}.", name, town


def articles(count: int = 8, rows: int = 8) -> list[dict[str, Any]]:
    """Official form: each paragraph has an answerable question and one without an answer."""
    return [
        {"title": f"Article {number}", "paragraphs": [_paragraph(number * rows + row) for row in range(rows)]}
        for number in range(count)
    ]


def _paragraph(row: int) -> dict[str, Any]:
    context, name, town = paragraph(row)
    answer = {"text": town, "answer_start": context.index(town)}
    return {
        "context": context,
        "qas": [
            {"id": f"q{row}", "question": f"Where does {name} live?", "answers": [answer], "is_impossible": False},
            {"id": f"n{row}", "question": f"What does {name} eat?", "answers": [], "is_impossible": True},
        ],
    }


def write_data(path: Path, content: list[dict[str, Any]] | None = None) -> Path:
    path.write_text(json.dumps({"version": "v2.0", "data": articles() if content is None else content}))
    return path


def write_splits(path: Path, **purposes: list[str]) -> Path:
    splits = purposes or {"select": ["Article 6"], "calibrate": ["Article 7"]}
    path.write_text(json.dumps({"splits": splits}))
    return path


def write_recipe(path: Path, base: Path | str, reader: str = "", **training: Any) -> Path:
    options = {"base": str(base), "learning_rate": 2e-3, "epochs": 2, "batch_size": 8, "evaluations": 2} | training
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    window = reader or "max_length = 48\ndoc_stride = 12\nmax_answer_length = 6"
    path.write_text(f'description = "tiny"\n[reader]\nmodel = "tiny"\n{window}\n[training]\n' + "\n".join(lines) + "\n")
    return path


def _sentences() -> list[str]:
    questions = [qa["question"] for article in articles() for part in article["paragraphs"] for qa in part["qas"]]
    return [paragraph(row)[0] for row in range(64)] + questions


def _words(*, lowercase: bool = True) -> list[str]:
    """All words and marks of the data; the trainers of the tokenizers library don't give the same twice."""
    found = re.findall(r"\w+|[^\w\s]", " ".join(_sentences()))
    return sorted({word.lower() if lowercase else word for word in found})


def _pair_template(tokenizer: Tokenizer) -> Any:
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )


def word_piece(*, lowercase: bool, every: int = 1) -> Tokenizer:
    """A BERT tokenizer that knows every letter and each `every`th word; other words are cut into letters."""
    letters = ascii_lowercase if lowercase else ascii_letters
    tokens = [*_BERT_TOKENS, *letters, *(f"##{letter}" for letter in letters), *_words(lowercase=lowercase)[::every]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, ".", "?"]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(_BERT_TOKENS)
    tokenizer.post_processor = _pair_template(tokenizer)
    return tokenizer


def make_bert(folder: Path) -> Path:
    torch.manual_seed(1)
    tokenizer = word_piece(lowercase=True)
    BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, **SIZE)).save_pretrained(
        folder
    )
    tokenizer.enable_truncation(16)  # as published encoders have it: the reader must not keep it
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_albert(folder: Path) -> Path:
    """SentencePiece's Unigram with its replaced spaces, shared layers, factorised embeddings."""
    torch.manual_seed(1)
    pieces = [(f"\u2581{word}", -3.0) for word in _words()] + [
        (letter, -9.0) for letter in f"\u2581{ascii_lowercase}.?"
    ]
    special = [(token, 0.0) for token in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    tokenizer = Tokenizer(models.Unigram(special + pieces, unk_id=1))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([token for token, _ in special])
    tokenizer.post_processor = _pair_template(tokenizer)
    config = AlbertConfig(
        vocab_size=tokenizer.get_vocab_size(), embedding_size=16, max_position_embeddings=64, pad_token_id=0, **SIZE
    )
    AlbertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_roberta(folder: Path) -> Path:
    """Byte-level BPE as `vocab.json` and `merges.txt`, no segment ids, positions that begin after the padding's."""
    torch.manual_seed(1)
    tokenizer = Tokenizer(models.BPE(*_merges()))
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), type_vocab_size=1, max_position_embeddings=66, pad_token_id=1, **SIZE
    )
    RobertaModel(config).save_pretrained(folder)
    tokenizer.model.save(str(folder))
    return folder


def _merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level vocabulary in which each word grows letter by letter."""
    vocabulary = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])}
    for token in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[token] = len(vocabulary)
    merges = []
    words = _words(lowercase=False)
    for word in (*words, *(f"\u0120{word}" for word in words)):
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                merges.append((word[: end - 1], word[end - 1]))
                vocabulary[word[:end]] = len(vocabulary)
    return vocabulary, merges


def make_spanbert(folder: Path) -> Path:
    """A cased BERT as it was once published: `vocab.txt` alone, nothing that says that it is cased."""
    return _published_old(folder, word_piece(lowercase=False))


def make_scibert(folder: Path) -> Path:
    """A BERT with a vocabulary of its own, lower-cased, published like SpanBERT."""
    return _published_old(folder, word_piece(lowercase=True, every=2))


def _published_old(folder: Path, tokenizer: Tokenizer) -> Path:
    """A `.bin` checkpoint of a language model, with old names for layer norms and no model type."""
    torch.manual_seed(1)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, **SIZE)
    BertForMaskedLM(config).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    old = {_old_name(name): tensor for name, tensor in weights.items()}
    torch.save(old, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    settings = json.loads((folder / "config.json").read_text())
    del settings["model_type"], settings["architectures"]
    (folder / "config.json").write_text(json.dumps(settings))
    _write_vocabulary(folder / "vocab.txt", tokenizer.get_vocab())
    return folder


def _old_name(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def _write_vocabulary(path: Path, vocabulary: dict[str, int]) -> None:
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    path.write_text("\n".join(tokens) + "\n")


BASES: dict[str, Callable[[Path], Path]] = {
    "bert": make_bert,
    "albert": make_albert,
    "roberta": make_roberta,
    "spanbert": make_spanbert,
    "scibert": make_scibert,
}
