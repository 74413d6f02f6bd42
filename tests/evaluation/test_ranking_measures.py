"""Ranking measures worked by hand, and against trec_eval itself."""

from __future__ import annotations

import math

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from odqa.evaluation.ranking import Ranking, average_precision, evaluate, measures, ndcg, recall, reciprocal_rank

TREC = {"recall": "recall", "map_cut": "map", "ndcg_cut": "ndcg"}
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


@given(
    st.lists(
        st.tuples(st.permutations(range(30)), st.integers(1, 30), st.sets(st.integers(0, 40), min_size=1, max_size=8)),
        min_size=1,
        max_size=5,
    )
)
def test_measures_are_those_of_trec_eval(drawn: list[tuple[list[int], int, set[int]]]) -> None:
    rankings = [
        Ranking([f"d{one}" for one in order[:count]], {f"d{one}" for one in gold}) for order, count, gold in drawn
    ]
    judged = {str(row): dict.fromkeys(one.relevant, 1) for row, one in enumerate(rankings)}
    run = {str(row): {name: -float(at) for at, name in enumerate(one.ranked)} for row, one in enumerate(rankings)}
    cuts = (1, 5, 10, 20)
    names = {f"{measure}_{k}": f"{ours}@{k}" for measure, ours in TREC.items() for k in cuts}
    scored = pytrec_eval.RelevanceEvaluator(judged, {*names, "recip_rank"}).evaluate(run)
    for row, ranking in enumerate(rankings):
        ours = {name: measured for k in cuts for name, measured in measures(ranking, cuts=(k,)).items()}
        for theirs, name in names.items():
            assert ours.get(name, recall(ranking, int(name.split("@")[1]))) == pytest.approx(scored[str(row)][theirs])
        assert reciprocal_rank(ranking, len(ranking.ranked)) == pytest.approx(scored[str(row)]["recip_rank"])
