"""Fine-tuning a reader by a recipe, from checked data to a model folder with its threshold and card."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odqa import models, progress, recipes
from odqa.errors import ConfigError
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe, TrainingRecipe
from odqa.training import card, checkpoints, run, scoring
from odqa.training.base import Base, load_model, open_base, write_reader
from odqa.training.card import Provenance, TrainedReader
from odqa.training.data import TrainingData, examples, load
from odqa.training.features import Collator, Features, build
from odqa.training.plan import Plan, check_precision, plan
from odqa.training.quiet import quiet
from odqa.training.run import RunFolder

__all__ = ["TrainedReader", "train_reader"]


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a training needs, checked."""

    name: str
    recipe: TrainingRecipe
    reading: ReaderRecipe
    base: Base
    data: TrainingData
    features: Features
    plan: Plan
    folder: RunFolder


def train_reader(
    pipeline: str,
    data: Sequence[str | Path],
    out: str | Path,
    *,
    splits: str | Path | None = None,
    resume: bool = False,
    half: bool = False,
    save_every: int = 200,
    log_every: int = 10,
) -> TrainedReader:
    """Train the reader of a recipe.

    Writes `out/model` (weights, tokenizer, `reader.json` with the null threshold, a card), `out/metrics.jsonl`,
    `out/run.json` and `out/checkpoints`. Under a launcher (torchrun, accelerate) every process calls it.

    Args:
        pipeline: A recipe's name or `.toml` file; it needs a `[training]` table.
        data: Question files in SQuAD form, as `odqa.evaluation.dataset.load` takes them.
        out: The run's folder, new or empty.
        splits: JSON with article titles by purpose under "splits"; `select` and `calibrate` among them. Without it,
            articles are drawn with the recipe's seed.
        resume: Go on from the last checkpoint in `out`, bit for bit, or begin where there is none. A finished reader
            is returned as it is.
        half: Write the weights in half precision.
        save_every: Steps from one checkpoint to the next; there is also one at each evaluation.
        log_every: Steps from one row of the metrics log to the next.

    Raises:
        ConfigError: the recipe can't be trained here, or `out` belongs to something else.
        DataError: a data file is wrong, or leaves nothing to train, choose or tune with.
        ModelError: the base model can't be found or no reader can be made of it.
    """
    folder = RunFolder(Path(out))
    if run.is_main():
        folder.check(resume=resume)
    job = _prepare(pipeline, data, folder, splits)
    with _alone(folder):
        if run.is_main():
            folder.begin(_identity(job), {"versions": run.versions(), "plan": asdict(job.plan)})
        if not folder.model.is_dir():
            _train(job, save_every=save_every, log_every=log_every)
        if run.is_main() and not folder.model.is_dir():
            _finish(job, _provenance(job, data, splits, half=half), half=half)
    return card.read_reader_file(folder.model)


def _prepare(pipeline: str, files: Sequence[str | Path], folder: RunFolder, splits: str | Path | None) -> _Job:
    recipe = recipes.load_pipeline(pipeline)
    training = recipe.training
    if training is None:
        raise ConfigError(f'The pipeline "{pipeline}" has no [training] table, so its reader can\'t be trained.')
    check_precision(training)
    base = open_base(training.base, recipe.reader)
    data = load(files, splits=splits, seed=training.seed)
    with progress.bars(progress.enabled() and run.is_main()):
        features = build(examples(data.train, training), base.windower(recipe.reader))
    steps = plan(training, len(features), world_size=run.world_size())
    return _Job(Path(pipeline).stem, training, recipe.reader, base, data, features, steps, folder)
