"""Fine-tuning a reader by a recipe, from checked data to a model folder with its threshold and card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from odqa import models, progress, recipes
from odqa.errors import ConfigError
from odqa.evaluation.thresholds import official_scores
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe, TrainingRecipe
from odqa.training import card, checkpoints, run, scoring
from odqa.training.average import mixed
from odqa.training.base import Base, check_head, load_model, open_base, write_reader
from odqa.training.card import TrainedReader
from odqa.training.data import TrainingData, examples, load
from odqa.training.features import Collator, Features, build, check_questions
from odqa.training.fit import of_margins
from odqa.training.optimizer import freeze
from odqa.training.plan import Plan, check_precision, plan
from odqa.training.provenance import Provenance, provenance
from odqa.training.quiet import quiet
from odqa.training.run import RunFolder

__all__ = ["TrainedReader", "train_reader"]


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a training needs, checked."""

    name: str
    instead: Mapping[str, str | int | None]
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
    base: str | None = None,
    seed: int | None = None,
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
        base: A model to begin from in place of the recipe's, such as a trained one that is to learn from more data.
        seed: In place of the recipe's.
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
    folder = RunFolder(Path(out).absolute())
    if run.is_main():
        folder.check(resume=resume)
    job = _prepare(pipeline, data, folder, splits, {"base": base, "seed": seed})
    with _alone(folder):
        if run.is_main():
            folder.begin(_identity(job), {"versions": run.versions(), "plan": asdict(job.plan)})
        if not folder.model.is_dir():
            _train(job, save_every=save_every, log_every=log_every)
            if run.is_main():
                _finish(job, _provenance(job, data, splits, half=half))
            _wait_for_main()
    return card.read_reader_file(folder.model)


def _prepare(
    pipeline: str,
    files: Sequence[str | Path],
    folder: RunFolder,
    splits: str | Path | None,
    instead: Mapping[str, str | int | None],
) -> _Job:
    recipe = recipes.load_pipeline(pipeline)
    if recipe.training is None:
        raise ConfigError(f'The pipeline "{pipeline}" has no [training] table, so its reader can\'t be trained.')
    training = recipes.changed(recipe.training, instead)
    _check_installed()
    check_precision(training)
    base = open_base(training.base, recipe.reader)
    if training.base_share:
        check_head(base)
    data = load(files, splits=splits)
    windower = base.windower(recipe.reader)
    check_questions(windower, (*data.select, *data.calibrate))
    with progress.bars(progress.enabled() and run.is_main()):
        features = build(examples(data.train, training), windower)
    steps = plan(training, len(features), world_size=run.world_size())
    return _Job(pipeline, instead, training, recipe.reader, base, replace(data, train=()), features, steps, folder)


def _check_installed() -> None:
    if find_spec("accelerate") is None:
        raise ConfigError('Training needs the package "accelerate": pip install "odqa[train]"')


def _identity(job: _Job) -> dict[str, object]:
    """What a run must share with the one that it goes on with."""
    lengths = job.reading.model_dump(include={"max_length", "doc_stride", "max_answer_length"})
    return {
        "recipe": job.recipe.model_dump() | lengths,
        "base": models.fingerprint(job.base.folder),
        "data": {f"file {number}": file.sha256 for number, file in enumerate(job.data.files, 1)},
        "splits": job.data.splits_sha256,
    }


@contextmanager
def _alone(folder: RunFolder) -> Iterator[None]:
    with folder.locked() if run.is_main() else nullcontext():
        yield


def _train(job: _Job, *, save_every: int, log_every: int) -> None:
    from odqa.training.loop import ReaderTrainer, arguments, deterministic

    checkpoint = checkpoints.last(job.folder.checkpoints)
    if checkpoint is not None and _is_trained(checkpoint, job):
        return
    collator = Collator(
        job.features, job.base.pad_id, job.recipe.pad_to_multiple, job.reading.max_length, job.base.segments
    )
    with quiet(), deterministic(), _bar(job) as tick:
        args = arguments(job.recipe, job.plan, job.folder, save_every=save_every, log_every=log_every)
        trainer = ReaderTrainer(
            _model(job),
            args,
            run=job.folder,
            recipe=job.recipe,
            plan=job.plan,
            features=job.features,
            collator=collator,
            score=lambda weights: _score(job, weights),
        )
        if run.is_main():
            trainer.record(job.folder.metrics, tick, after=checkpoint)
        trainer.go_on(checkpoint)


def _model(job: _Job) -> Any:
    from transformers import set_seed

    set_seed(job.recipe.seed)
    model = load_model(job.base, dropout=job.recipe.dropout, attention_dropout=job.recipe.attention_dropout)
    freeze(model, job.recipe)
    return model


def _is_trained(checkpoint: Path, job: _Job) -> bool:
    """Whether a run was interrupted after its last step: one more would change the weights."""
    from odqa.training.course import is_exhausted

    state = checkpoints.state(checkpoint)
    return state["global_step"] >= job.plan.steps or is_exhausted(state["log_history"], job.recipe.patience)


@contextmanager
def _bar(job: _Job) -> Iterator[progress.Tick]:
    with (
        progress.bars(progress.enabled() and run.is_main()),
        progress.bar("Training", total=job.plan.steps, unit="steps") as tick,
    ):
        yield tick


def _score(job: _Job, weights: Mapping[str, Any]) -> dict[str, float]:
    """Figures of weights in training on the `select` articles, through the reader itself.

    `f1` and `exact` are the best over all thresholds; those at threshold zero would choose the checkpoint whose null
    score happens to be centred.
    """
    import torch

    folder = job.folder.draft("scored")
    write_reader(folder, job.base, weights)
    try:
        with torch.random.fork_rng(), progress.bars(enabled=False):
            found = scoring.outcomes(_reader(job, folder), job.data.select)
    finally:
        shutil.rmtree(folder)
    figures = official_scores(found, 0.0)
    return {"f1": figures["best_f1"], "exact": figures["best_exact"], "f1_at_zero": figures["f1"]}


def _reader(job: _Job, folder: Path) -> Reader:
    return Reader(job.reading.model_copy(update={"model": str(folder)}), device=run.torch_device())


def _finish(job: _Job, made: Provenance) -> None:
    """Write the best checkpoint as a reader, tune its threshold on what was written, and put it in place whole."""
    step = checkpoints.state(_last(job))["best_global_step"]
    draft = job.folder.draft("model")
    weights = checkpoints.weights(checkpoints.path_of(job.folder.checkpoints, step))
    if job.recipe.base_share:
        weights = mixed(weights, load_model(job.base).state_dict(), job.recipe.base_share)
    write_reader(draft, job.base, weights, half=made.half)
    with quiet():
        reader = _reader(job, draft)
        select, calibrate = (scoring.outcomes(reader, part) for part in (job.data.select, job.data.calibrate))
    threshold = scoring.tuned_threshold(calibrate)
    trained = TrainedReader(
        folder=job.folder.model,
        null_threshold=threshold,
        step=step,
        select=official_scores(select, threshold),
        calibrate=official_scores(calibrate, threshold),
        calibration=of_margins(calibrate, threshold),
    )
    card.write_reader_file(draft, trained, job.reading)
    card.write_card(draft, trained, made)
    checkpoints.publish(draft, job.folder.model)


def _last(job: _Job) -> Path:
    checkpoint = checkpoints.last(job.folder.checkpoints)
    if checkpoint is None:
        raise ConfigError(f"{job.folder.checkpoints} lost its checkpoints while it was trained in. Begin anew.")
    return checkpoint


def _provenance(job: _Job, files: Sequence[str | Path], splits: str | Path | None, *, half: bool) -> Provenance:
    given = (job.name, job.recipe, job.data, job.plan, job.folder)
    return provenance(*given, files=files, splits=splits, half=half, instead=job.instead)


def _wait_for_main() -> None:
    if run.world_size() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
        PartialState().destroy_process_group()
