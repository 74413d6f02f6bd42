"""What stands beside a trained embedder: `metrics.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from odqa.training.provenance import TRAINING, Provenance
from odqa.training.retrieval import CHOOSES

METRICS_FILE = "metrics.json"


@dataclass(frozen=True, slots=True)
class TrainedRetriever:
    """A finished embedder and its figures on held-out articles, in [0, 1], by `dense_` or `fused_` and the measure.

    Attributes:
        folder: The model folder; give it as an index card's `embedder`.
        step: The optimiser step whose weights these are: the best of the evaluations on the `select` articles.
        paragraphs: How many were ranked for each question: those of all held-out articles.
        select: On the articles that chose the step, a little too good for that.
        calibrate: On articles that chose nothing.
        untrained_select: What the base model reaches there.
        untrained_calibrate: Likewise.
        retriever: What the `[retriever]` table of a recipe that searches with it should say, fitted on `calibrate`.
    """

    folder: Path
    step: int
    paragraphs: int
    select: Mapping[str, float]
    calibrate: Mapping[str, float]
    untrained_select: Mapping[str, float]
    untrained_calibrate: Mapping[str, float]
    retriever: Mapping[str, float]

    @property
    def summary(self) -> str:
        """The figure that chose and what it was before training."""
        before, after = self.untrained_select[CHOOSES], self.select[CHOOSES]
        return f"select fused MRR {after:.3f}, untrained {before:.3f}"


def write_metrics(folder: Path, trained: TrainedRetriever) -> None:
    """Write `metrics.json`."""
    content = asdict(trained)
    del content["folder"]
    (folder / METRICS_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_metrics(folder: Path) -> TrainedRetriever:
    """The record of a finished embedder."""
    return TrainedRetriever(folder, **json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")))


def write_card(folder: Path, trained: TrainedRetriever, made: Provenance) -> None:
    """Write `README.md`."""
    (folder / "README.md").write_text(_card(trained, made), encoding="utf-8")


def _card(trained: TrainedRetriever, made: Provenance) -> str:
    columns = (trained.untrained_select, trained.select, trained.untrained_calibrate, trained.calibrate)
    scores = "\n".join(
        f"| {name.replace('_', ', ')} | {' | '.join(f'{column[name]:.4f}' for column in columns)} |"
        for name in trained.select
    )
    settings = "\n".join(f"{name} = {value}" for name, value in trained.retriever.items())
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
base_model: {made.origin}
---
# {made.pipeline}

An embedder of questions and passages for odqa, trained from `{made.base}` (SHA-256 `{made.base_sha256}`), weights in \
{"half" if made.half else "single"} precision. It is an ordinary sentence-transformers model.

## Scores
The paragraph that a question was asked about, answerable there or not, among the {trained.paragraphs:,} paragraphs of \
the articles held out of training by {made.split_by}. "fused" adds BM25 with the recipe's weights. `select` chose the \
checkpoint and is a little too good; `calibrate` chose nothing. The base model may have seen such pairs before.

| | select, untrained | select | calibrate, untrained | calibrate |
|---|---|---|---|---|
{scores}

For the table `[retriever]` of a recipe that searches with it, fitted on `calibrate`; then run `odqa calibrate`:
```toml
{settings}
```

{TRAINING}
- {made.steps} steps of {made.effective_batch_size} passages, seed {made.seed}; these weights are those after step \
{trained.step}.
{made.facts}
"""
