from __future__ import annotations

from collections import Counter
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from odqa.embedder import Embedder
from odqa.errors import DataError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.index.terms import Analyzer, Bm25
from odqa.recipes import RetrieverTrainingRecipe, TermsCard
from odqa.text import normalize_answer
from odqa.training.encoder import load_encoder, tokenizer_of
from odqa.training.negatives import mine
from odqa.training.pairs import Batches, Collator, Pairs, pair
from odqa.training.pairs import bm25 as bm25_of
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


def numbered(counts: list[int], articles: int) -> Pairs:
    """Passages with so many questions each, in articles by turns."""
    gold = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    passages = [asked("Who?", f"Passage {number}.", title=str(number % articles)) for number in range(len(counts))]
    return Pairs([passages[number] for number in gold], passages, gold)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=30),
    st.integers(2, 12),
    st.integers(0, 4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_batches_hold_every_pair_once(
    counts: list[int], size: int, questions: int, group: int, articles: int, epoch: int
) -> None:
    pairs, options = numbered(counts, articles), recipe(batch_size=size, questions=questions, group_size=group)
    batches = list(Batches(pairs, options, epoch))
    assert sorted(chain.from_iterable(batches)) == list(range(len(pairs)))
    most = questions or max(counts)
    assert all(len(batch) <= most * size and len(set(pairs.gold[batch])) <= size for batch in batches)
    assert len(batches) == len(Batches(pairs, options)) == -(-sum(-(-count // most) for count in counts) // size)
    assert batches == list(Batches(pairs, options, epoch))


def test_all_questions_of_a_passage_and_passages_of_an_article_stand_together() -> None:
    pairs = numbered([3] * 24, articles=2)
    for batch in Batches(pairs, recipe(batch_size=6, questions=0, group_size=3)):
        seen = [number for number, _ in groupby(pairs.gold[batch])]
        assert len(seen) == len(set(seen)) == 6 and len(batch) == 18
        titles = [pairs.passages[number].title for number in seen]
        assert len(set(titles[:3])) == len(set(titles[3:])) == 1
    alone = [pairs.gold[batch].tolist() for batch in Batches(pairs, recipe(batch_size=6, questions=1))]
    assert len(alone) == 12 and any(len(set(numbers)) == 6 for numbers in alone)


def test_epochs_and_seeds_have_orders_of_their_own(pairs: Pairs) -> None:
    orders = [list(Batches(pairs, recipe(batch_size=16, seed=seed), epoch)) for seed in (1, 2) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def no_terms(_: str, numbers: Any) -> Any:
    return np.zeros(len(numbers))


def test_a_batch_holds_each_passage_once_and_points_to_the_own_one(pairs: Pairs) -> None:
    seen: dict[str, list[str]] = {"query": [], "document": []}

    def tokenize(texts: Any, role: str) -> dict[str, Any]:
        seen[role].extend(texts)
        return {"input_ids": torch.zeros(len(texts), 1)}

    def terms(question: str, numbers: Any) -> Any:
        return np.array([len(question) + number / 64 for number in numbers])

    negatives = np.roll(np.stack([pairs.gold, np.full_like(pairs.gold, -1)], axis=1), 2, axis=0)
    batch = Collator(pairs, negatives, tokenize, terms)(list(range(0, 96, 2)))
    asked_of = {one.question: one.context for one in pairs.questions}
    assert sorted(seen["document"]) == sorted(one.context for one in pairs.passages)
    assert sorted(seen["query"]) == sorted(pairs.questions[row].question for row in range(0, 96, 2))
    assert [seen["document"][place] for place in batch["label"]] == [asked_of[text] for text in seen["query"]]
    parts = [len(batch[f"{name}{part}_input_ids"]) for name in ("questions", "passages") for part in range(3)]
    assert parts == [16] * 6
    for texts in seen.values():
        assert [len(text) for text in texts] == sorted(map(len, texts), reverse=True)
    added = torch.cat([batch[f"questions{part}_terms"] for part in range(3)])
    number_of = {one.context: number for number, one in enumerate(pairs.passages)}
    expected = [[len(text) + number_of[context] / 64 for context in seen["document"]] for text in seen["query"]]
    assert torch.equal(added, torch.tensor(expected))


def test_texts_become_tokens_as_sentence_transformers_makes_them(base: Path) -> None:
    model = load_encoder(base, dropout=0.0)
    tokenize = tokenizer_of(model, 24)
    texts = ["Where is the crimson mug?", "The red cup is kept in Oslo." * 9]
    for role, theirs in (("query", model.encode_query(texts)), ("document", model.encode_document(texts))):
        with torch.no_grad():
            ours = model(tokenize(texts, role))["sentence_embedding"].numpy()
        assert np.allclose(ours, theirs, atol=1e-6)


def features(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """As the Trainer hands them over."""
    names = dict.fromkeys(name.split("_")[0] for name in batch if name != "label")
    return [
        {name.removeprefix(f"{part}_"): tensor for name, tensor in batch.items() if name.startswith(f"{part}_")}
        for part in names
    ]


def test_the_loss_is_sentence_transformers_own_for_cosines_of_whole_passages(base: Path, pairs: Pairs) -> None:
    model = SentenceTransformer(str(base), device="cpu").eval()
    rows = [int(np.flatnonzero(pairs.gold == number)[0]) for number in range(40)]
    tokenize = tokenizer_of(model, 24)
    columns = [
        tokenize([pairs.questions[row].question for row in rows], "query"),
        tokenize([pairs.questions[row].context for row in rows], "document"),
    ]
    theirs = MultipleNegativesRankingLoss(model, scale=7.0)([dict(one) for one in columns], None)
    batch = Collator(pairs, np.empty((96, 0), np.int32), tokenize, no_terms)(rows)
    ours = BatchLoss(model, 7.0)(features(batch), batch["label"])
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_the_loss_is_about_the_score_that_the_pipeline_ranks_by(base: Path) -> None:
    texts = [
        "The red cup is in Oslo. It is old and very red!",
        "A ship is on the road. The book is kept in Prague.",
        "Oslo.",
        "The blue lamp is in Lisbon, the pink one in Rome.",
    ]
    asks = ["Where is the crimson mug?", "Where is the tome?", "What is there?", "Where is the azure light?"]
    pairs = pair([asked(ask, text, title=text) for ask, text in zip(asks, texts, strict=True)])
    card = TermsCard()
    bm25 = Bm25([Analyzer(card).postings([f"{text}\n{text}" for text in texts])], card)
    embedder = Embedder(base, device="cpu")
    sentences = embedder.embed_sentences(texts)[1]
    assert [len(one) for one in sentences] == [2, 2, 1, 1]
    dense = np.stack([(embedder.embed_questions(asks) @ one.T).max(axis=1) for one in sentences], axis=1)
    sparse = np.stack([bm25.search(ask).scores(np.arange(4)) for ask in asks])
    logits = 5 * (0.5 * dense + 0.25 * sparse)
    expected = float(np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)))
    model = load_encoder(base, dropout=0.0)
    terms = bm25_of(pairs, card)
    collator = Collator(
        pairs,
        np.empty((4, 0), np.int32),
        tokenizer_of(model, 24, sentences=True),
        lambda text, numbers: 0.25 * terms.search(text).scores(numbers),
    )
    batch = collator([2, 0, 3, 1])
    assert BatchLoss(model, 5.0, 0.5)(features(batch), batch["label"]).item() == pytest.approx(expected, abs=1e-5)


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
