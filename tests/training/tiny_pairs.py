"""A tiny seeded embedder, and a data set in which questions name things in other words than their passages do."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from odqa.evaluation.dataset import Question
from odqa.training.data import load
from tests.training.tiny_bases import write_data, write_splits

COLOURS = {
    "red": "crimson",
    "blue": "azure",
    "green": "olive",
    "black": "inky",
    "white": "pale",
    "brown": "tan",
    "grey": "ashen",
    "pink": "rosy",
}
THINGS = {
    "cup": "mug",
    "ship": "boat",
    "house": "home",
    "road": "street",
    "coat": "cloak",
    "stone": "rock",
    "lamp": "light",
    "book": "tome",
}
TOWNS = ["Oslo", "Lisbon", "Vienna", "Dublin", "Warsaw", "Madrid", "Athens", "Prague"]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def articles(count: int = 8) -> list[dict[str, Any]]:
    """64 things, 8 to an article: each paragraph has a question with an answer and one without."""
    things = list(product(COLOURS, THINGS))
    order = np.random.default_rng(5).permutation(len(things))
    rows = [_paragraph(int(row), *things[row]) for row in order]
    return [{"title": f"Article {at}", "paragraphs": rows[8 * at : 8 * at + 8]} for at in range(count)]


def _paragraph(row: int, colour: str, thing: str) -> dict[str, Any]:
    town = TOWNS[row % 8 ^ row // 8]
    context = f"The {colour} {thing} is kept in {town}."
    asked = f"the {COLOURS[colour]} {THINGS[thing]}"
    answer = {"text": town, "answer_start": context.index(town)}
    return {
        "context": context,
        "qas": [
            {"id": f"q{row}", "question": f"Where is {asked}?", "answers": [answer], "is_impossible": False},
            {"id": f"n{row}", "question": f"What does {asked} cost?", "answers": [], "is_impossible": True},
        ],
    }


def training_questions(folder: Path) -> list[Question]:
    """The questions of the articles 0 to 5."""
    data, splits = write_data(folder / "train.json", articles()), write_splits(folder / "splits.json")
    return list(load([data], splits=splits).train)


def make_embedder(folder: Path) -> Path:
    """A sentence-transformers model: BERT, mean pooling, normalised, with prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    bare = make_encoder(folder / "bare")
    transformer = Transformer(str(bare), max_seq_length=24)
    modules = [transformer, Pooling(transformer.get_embedding_dimension()), Normalize()]
    prompts = {"query": "what ", "document": "the "}
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder / "model"))
    return folder / "model"


def make_encoder(folder: Path) -> Path:
    """A bare BERT that knows all words of the data."""
    torch.manual_seed(1)
    text = json.dumps(articles()).lower()
    vocabulary = {
        token: number for number, token in enumerate([*_SPECIAL, *sorted(set(re.findall(r"[a-z]+|[.?]", text)))])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.2, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, "mask_token": "[MASK]", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_recipe(path: Path, base: Path | str, mode: str = "hybrid", **training: Any) -> Path:
    options = {"base": str(base), "learning_rate": 2e-3, "epochs": 4, "batch_size": 16, "evaluations": 2} | training
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    head = f'description = "tiny"\n[retriever]\nmode = "{mode}"\nsparse_weight = 0.5\n[reader]\nmodel = "tiny"\n'
    path.write_text(f"{head}[retriever_training]\n" + "\n".join(lines) + "\n")
    return path
