"""What stands beside a trained reader: `reader.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from odqa.reader.calibration import Calibration, of_reader
from odqa.recipes import ReaderRecipe
from odqa.training.provenance import TRAINING, Provenance

READER_FILE = "reader.json"
_ROWS = ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "total", "best_exact", "best_f1")


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """A finished reader and its figures on the held-out articles, in percent, at its null threshold.

    Attributes:
        folder: The model folder; give it as a recipe's `reader.model`.
        null_threshold: Tuned for F1 on the `calibrate` articles, so that their figures are a little too good.
        step: The optimiser step whose weights these are: the best of the evaluations on the `select` articles.
        select: The official figures on the articles that chose the step, too good for that.
        calibrate: The official figures on the articles that tuned the threshold.
        calibration: From margins to probabilities, fitted on these too; None where their questions all come out alike.
    """

    folder: Path
    null_threshold: float
    step: int
    select: Mapping[str, float]
    calibrate: Mapping[str, float]
    calibration: Calibration | None = None


def write_reader_file(folder: Path, reader: TrainedReader, recipe: ReaderRecipe) -> None:
    """Write `reader.json`: the threshold, what it was tuned on, and the lengths it holds for."""
    lengths = recipe.model_dump(include={"max_length", "doc_stride", "max_answer_length"})
    content = {"tuned_on": "calibrate"} | lengths | asdict(reader)
    content["calibration"] = reader.calibration.model_dump(mode="json") if reader.calibration else None
    del content["folder"]
    (folder / READER_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_reader_file(folder: Path) -> TrainedReader:
    """The record of a finished reader."""
    content = json.loads((folder / READER_FILE).read_text(encoding="utf-8"))
    names = ("null_threshold", "step", "select", "calibrate")
    return TrainedReader(folder, **{name: content[name] for name in names}, calibration=of_reader(folder))


def write_card(folder: Path, reader: TrainedReader, made: Provenance) -> None:
    """Write `README.md`."""
    (folder / "README.md").write_text(_card(reader, made), encoding="utf-8")


def _card(reader: TrainedReader, made: Provenance) -> str:
    scores = "\n".join(f"| {name} | {_cell(reader.select, name)} | {_cell(reader.calibrate, name)} |" for name in _ROWS)
    return f"""---
library_name: transformers
pipeline_tag: question-answering
base_model: {made.origin}
---
# {made.pipeline}

An extractive reader for odqa, trained from `{made.base}` (SHA-256 `{made.base_sha256}`), weights in \
{"half" if made.half else "single"} precision. Its null threshold is {reader.null_threshold:.4f}: a passage whose \
margin is under it holds no answer.

## Scores
Percent, by the official SQuAD v2.0 evaluation, each question against its own paragraph, on articles held out of \
training by {made.split_by}. `select` chose the checkpoint and `calibrate` tuned the threshold: both are a little too \
good. `best_*` is over all thresholds.

| | select | calibrate |
|---|---|---|
{scores}

{TRAINING}
- {made.steps} steps of {made.effective_batch_size} windows on {made.devices} device(s), seed {made.seed}; these \
weights are those after step {reader.step}.
{made.facts}
"""


def _cell(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return ""
    return f"{figures[name]:,.0f}" if name == "total" else f"{figures[name]:.2f}"
