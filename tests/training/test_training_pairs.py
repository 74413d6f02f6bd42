from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from odqa.errors import DataError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.recipes import RetrieverTrainingRecipe, TermsCard
from odqa.text import normalize_answer
from odqa.training.encoder import load_encoder, tokenizer_of
from odqa.training.negatives import mine
from odqa.training.pairs import Batches, Collator, Pairs, pair
from odqa.training.retriever_loop import BatchLoss
from tests.training.tiny_pairs import make_embedder, training_questions


def asked(text: str, context: str, answer: str = "", title: str = "A", number: int = 0) -> Question:
    answers = (GoldAnswer(answer, context.index(answer)),) if answer else ()
    return Question(f"{text} {number}", text, context, title, f"{title}-{number}", answers, not answers)


def recipe(**options: Any) -> RetrieverTrainingRecipe:
    return RetrieverTrainingRecipe(**{"base": "b", "learning_rate": 1e-3, "epochs": 1, "batch_size": 8} | options)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_embedder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return pair(training_questions(tmp_path))


def test_equal_passages_are_one_and_unanswerable_questions_are_pairs_too(pairs: Pairs) -> None:
    assert (len(pairs), len(pairs.passages)) == (96, 48)
    contexts = [pairs.passages[number].context for number in pairs.gold]
    assert contexts == [one.context for one in pairs.questions]
    assert sum(one.is_impossible for one in pairs.questions) == 48


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([asked("Who?", "Anna."), asked(" ", "Carlo.", number=1)], '"  1" has no question but white space'),
        ([asked("Who?", "\n"), asked("When?", "Carlo.", number=1)], 'Question "Who. 0" has no passage but white space'),
        ([asked("Who?", "Anna."), asked("When?", "Anna.")], "1 passages are left to train with"),
        ([], "0 passages are left to train with"),
    ],
)
def test_what_can_not_be_paired(questions: list[Question], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pair(questions)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.integers(2, 12), st.integers(0, 3), st.integers(0, 3))
def test_batches_hold_every_pair_once_and_no_passage_twice(counts: list[int], size: int, seed: int, epoch: int) -> None:
    gold = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    batches = list(Batches(gold, size, seed, epoch))
    assert len(batches) == len(Batches(gold, size, seed)) == max(-(-len(gold) // size), *counts)
    assert sorted(chain.from_iterable(batches)) == list(range(len(gold)))
    assert all(len({gold[row] for row in batch}) == len(batch) for batch in batches)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= size
    assert batches == list(Batches(gold, size, seed, epoch))


def test_epochs_and_seeds_have_orders_of_their_own(pairs: Pairs) -> None:
    orders = [list(Batches(pairs.gold, 16, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_a_batch_holds_each_passage_once_and_points_to_the_own_one(pairs: Pairs) -> None:
    seen: list[str] = []

    def tokenize(texts: Any, role: str) -> dict[str, Any]:
        seen.extend([] if role == "query" else texts)
        return {"input_ids": torch.zeros(len(texts), 1)}

    negatives = np.roll(np.stack([pairs.gold, np.full_like(pairs.gold, -1)], axis=1), 2, axis=0)
    rows = list(range(0, 96, 2))
    batch = Collator(pairs, negatives, tokenize)(rows)
    assert sorted(seen) == sorted(one.context for one in pairs.passages)
    assert [seen[place] for place in batch["label"]] == [pairs.questions[row].context for row in rows]
    assert [len(batch[f"{name}_input_ids"]) for name in ("question", "passages0", "passages1")] == [48, 32, 16]


def test_texts_become_tokens_as_sentence_transformers_makes_them(base: Path) -> None:
    model = load_encoder(base, dropout=0.0)
    tokenize = tokenizer_of(model, 24)
    texts = ["Where is the crimson mug?", "The red cup is kept in Oslo." * 9]
    for role, theirs in (("query", model.encode_query(texts)), ("document", model.encode_document(texts))):
        with torch.no_grad():
            ours = model(tokenize(texts, role))["sentence_embedding"].numpy()
        assert np.allclose(ours, theirs, atol=1e-6)


def test_the_loss_is_sentence_transformers_own_where_passages_differ(base: Path, pairs: Pairs) -> None:
    model = SentenceTransformer(str(base), device="cpu").eval()
    rows = next(iter(Batches(pairs.gold, 12, 0)))
    apart = np.setdiff1d(np.arange(48), pairs.gold[rows])[: len(rows)]
    negatives = np.full((96, 1), -1, np.int32)
    negatives[rows, 0] = apart
    tokenize = tokenizer_of(model, 24)
    columns = [
        tokenize([pairs.questions[row].question for row in rows], "query"),
        tokenize([pairs.passages[number].context for number in pairs.gold[rows]], "document"),
        tokenize([pairs.passages[number].context for number in apart], "document"),
    ]
    theirs = MultipleNegativesRankingLoss(model, scale=7.0)([dict(one) for one in columns], None)
    batch = Collator(pairs, negatives, tokenize)(rows)
    names = ["question", *sorted({name.split("_")[0] for name in batch if name.startswith("passages")})]
    features = [
        {name.removeprefix(f"{part}_"): tensor for name, tensor in batch.items() if name.startswith(f"{part}_")}
        for part in names
    ]
    ours = BatchLoss(model, 7.0)(features, batch["label"])
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_negatives_by_terms_worked_by_hand() -> None:
    questions = [
        asked("Where is the red cup?", "The red cup is in Oslo.", "Oslo", number=0),
        asked("Who drinks?", "A red cup of tea for Anna.", "Anna", number=1),
        asked("Who saw it?", "Emil saw a red cup in  OSLO!", "Emil", number=2),
        asked("What do cows eat?", "Cows eat grass.", "grass", number=3),
        asked("Whose is the red cup?", "Cows give milk.", "", number=4),
        asked("Whose was it?", "Long ago, a cup was red.", "", title="B"),
        asked("What do cows drink?", "Cows eat grass, the whole day.", "", number=3),
    ]
    found = mine(pair(questions), recipe(hard_negatives=2, negatives_from="bm25"), TermsCard())
    assert sorted(found[0].tolist()) == [1, 5]  # not 2, which holds the answer, and not 3, which shares no term
    assert found[3].tolist() == [4, -1]  # not 6, another text of the same document
    assert found[4].tolist() == [5, -1]  # no answer is known, so that no passage of its article is safe
    assert mine(pair(questions), recipe(hard_negatives=0), TermsCard()).shape == (7, 0)


def test_dense_negatives_are_the_nearest_that_hold_no_answer(base: Path, pairs: Pairs) -> None:
    found = mine(pairs, recipe(base=str(base), hard_negatives=3, negatives_from="dense"), TermsCard())
    model = SentenceTransformer(str(base), device="cpu")
    cosines = (
        model.encode_query([one.question for one in pairs.questions])
        @ model.encode_document([one.context for one in pairs.passages]).T
    )
    for row, one in enumerate(pairs.questions):
        allowed = [
            number
            for number, passage in enumerate(pairs.passages)
            if number != pairs.gold[row] and (passage.title != one.title if one.is_impossible else lacks(passage, one))
        ]
        expected = sorted(allowed, key=lambda number: -cosines[row, number])[:3]
        assert cosines[row, found[row]] == pytest.approx(cosines[row, expected], abs=1e-5)
        assert set(found[row]) <= set(allowed)


def lacks(passage: Question, one: Question) -> bool:
    words = normalize_answer(passage.context).split()
    return not any(normalize_answer(answer.text) in words for answer in one.answers)


def test_both_rankings_take_turns(base: Path) -> None:
    questions = [
        asked(f"Where is the {colour} cup?", f"The {colour} cup is in a house {number}.", title=str(number))
        for number, colour in enumerate(["red", "blue", "green", "black"])
    ]
    options = {"base": str(base), "hard_negatives": 1}
    of = {
        name: mine(pair(questions), recipe(negatives_from=name, **options), TermsCard()) for name in ("bm25", "dense")
    }
    both = mine(pair(questions), recipe(negatives_from="both", **options), TermsCard())[:, 0].tolist()
    assert both == [of["dense" if row % 2 else "bm25"][row, 0] for row in range(4)]
    assert Counter(both).keys() <= {0, 1, 2, 3}
