"""Ranking measures worked by hand, and retrieval evaluated over a tiny index."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from odqa.embedder import Embedder
from odqa.errors import DataError
from odqa.evaluation.dataset import GoldAnswer, Question
from odqa.evaluation.ranking import Ranking, average_precision, evaluate, ndcg, recall, reciprocal_rank
from odqa.evaluation.retriever import evaluate_retriever
from odqa.index import Index
from odqa.recipes import RetrieverRecipe
from tests.tiny import TEXTS

RANKING = Ranking(["a", "b", "c", "d", "e"], {"b", "d", "z"})


def test_measures_worked_by_hand() -> None:
    assert [recall(RANKING, k) for k in (1, 2, 4, 5)] == [0, 1 / 3, 2 / 3, 2 / 3]
    assert [reciprocal_rank(RANKING, k) for k in (1, 2, 5)] == [0, 1 / 2, 1 / 2]
    assert average_precision(RANKING, 5) == pytest.approx((1 / 2 + 2 / 4) / 3)
    best = 1 + 1 / math.log2(3) + 1 / 2
    assert ndcg(RANKING, 5) == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / best)
    assert ndcg(RANKING, 1) == 0


def test_a_perfect_ranking_scores_one_everywhere() -> None:
    assert set(evaluate([Ranking(["a", "b"], {"a", "b"})], cuts=(2, 10)).values()) == {1.0}


def test_means_are_over_questions() -> None:
    found = evaluate([RANKING, Ranking(["z", "b"], {"z"})], cuts=(1, 2))
    assert (found["recall@1"], found["recall@2"], found["mrr@2"]) == (0.5, pytest.approx(2 / 3), 0.75)


def questions(document_id: str = "d3") -> list[Question]:
    gold = Question("q1", "Vistula River", TEXTS[3], "Title 3", document_id, (GoldAnswer("Vistula", 39),))
    return [gold, Question("q2", "oxygen lavoisier symbol", TEXTS[1], "Title 1", "d1", (), is_impossible=True)]


def test_a_retriever_is_evaluated_by_side_and_group(build: Callable[..., Index], embedder: Embedder) -> None:
    report = evaluate_retriever(build(), RetrieverRecipe(), questions(), embedder=embedder)
    assert report.questions == {"all": 2, "answerable": 1, "unanswerable": 1}
    assert report.scores["sparse"]["all"]["recall@1"] == 1.0
    assert report.scores["dense"]["all"]["recall@100"] == 1.0
    assert report.scores.keys() == {"dense", "sparse", "fused"}


def test_questions_about_other_documents_are_refused(build: Callable[..., Index], embedder: Embedder) -> None:
    with pytest.raises(DataError, match='lacks 1 of the documents asked about, the first "Normans-0"'):
        evaluate_retriever(build(), RetrieverRecipe(), questions("Normans-0"), embedder=embedder)
