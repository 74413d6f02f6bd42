"""How well rankings put what is relevant first, as trec_eval defines it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CUTS = (1, 5, 10, 20, 100)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Document ids by falling score, and the ids that are relevant."""

    ranked: Sequence[str]
    relevant: Collection[str]


def recall(ranking: Ranking, k: int) -> float:
    """Share of the relevant documents among the first `k` (trec_eval's recall_k)."""
    return len(set(ranking.ranked[:k]) & set(ranking.relevant)) / len(ranking.relevant)


def reciprocal_rank(ranking: Ranking, k: int) -> float:
    """1 / rank of the first relevant document among the first `k`, else 0 (recip_rank)."""
    return next((1 / rank for rank, name in enumerate(ranking.ranked[:k], 1) if name in ranking.relevant), 0.0)


def average_precision(ranking: Ranking, k: int) -> float:
    """Mean over the relevant documents of the precision at their rank, 0 beyond the first `k` (map_cut_k)."""
    found, total = 0, 0.0
    for rank, name in enumerate(ranking.ranked[:k], 1):
        if name in ranking.relevant:
            found += 1
            total += found / rank
    return total / len(ranking.relevant)


def ndcg(ranking: Ranking, k: int) -> float:
    """Discounted cumulative gain of the first `k` over the best that could be, with gains of 1 (ndcg_cut_k)."""
    gain = sum(1 / math.log2(1 + rank) for rank, name in enumerate(ranking.ranked[:k], 1) if name in ranking.relevant)
    return gain / sum(1 / math.log2(1 + rank) for rank in range(1, min(k, len(ranking.relevant)) + 1))


def measures(ranking: Ranking, *, cuts: Sequence[int] = CUTS) -> dict[str, float]:
    """`recall@k` of one ranking for each cut; `mrr@k`, `map@k`, `ndcg@k` for 10 and the deepest cut."""
    found = {f"recall@{k}": recall(ranking, k) for k in cuts}
    for name, measure in (("mrr", reciprocal_rank), ("map", average_precision), ("ndcg", ndcg)):
        found |= {f"{name}@{k}": measure(ranking, k) for k in sorted({10, max(cuts)})}
    return found


def evaluate(rankings: Sequence[Ranking], *, cuts: Sequence[int] = CUTS) -> Mapping[str, float]:
    """Means of the `measures` of all rankings, of which there is one at least."""
    found = [measures(one, cuts=cuts) for one in rankings]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}
