"""Fine-tuning a retriever's embedder by a recipe, from checked data to a model folder with its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import models, progress, recipes
from odqa.embedder import Embedder
from odqa.errors import ConfigError
from odqa.recipes import Card, Mode, RetrieverRecipe, RetrieverTrainingRecipe
from odqa.training import checkpoints, retriever_card, run
from odqa.training.average import mixed
from odqa.training.data import TrainingData, load, thinned
from odqa.training.encoder import Encoder, load_encoder, open_encoder, tokenizer_of, write_encoder
from odqa.training.negatives import mine
from odqa.training.pairs import Batches, Collator, Pairs, bm25, pair
from odqa.training.plan import Plan, check_precision, retriever_plan
from odqa.training.provenance import Provenance, provenance
from odqa.training.quiet import quiet
from odqa.training.retrieval import CHOOSES, Haystack, terms_weight
from odqa.training.retriever_card import TrainedRetriever
from odqa.training.run import RunFolder

__all__ = ["TrainedRetriever", "train_retriever"]

_NEGATIVES = "negatives.npy"


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a training needs, checked."""

    name: str
    instead: Mapping[str, str | int | None]
    recipe: RetrieverTrainingRecipe
    search: RetrieverRecipe
    card: Card
    base: Encoder
    data: TrainingData
    pairs: Pairs
    order: Batches
    plan: Plan
    folder: RunFolder


def train_retriever(
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
) -> TrainedRetriever:
    """Train the embedder of a recipe on questions and the passages that they were asked about.

    Writes `out/model` (a sentence-transformers folder with a card and `metrics.json`), `out/metrics.jsonl`,
    `out/run.json`, `out/negatives.npy` and `out/checkpoints`. It runs on one device.

    Args:
        pipeline: A recipe's name or `.toml` file; it needs a `[retriever_training]` table. What is learnt is the
            score of its `[retriever]`, over terms and sentences as its index's card has them, where that is built in.
        data: Question files in SQuAD form, as `odqa.evaluation.dataset.load` takes them.
        out: The run's folder, new or empty.
        base: A model to begin from in place of the recipe's, such as a trained one that is to learn from more data.
        seed: In place of the recipe's.
        splits: JSON with article titles by purpose under "splits"; `select` and `calibrate` among them. Without it,
            articles are drawn with the recipe's seed.
        resume: Go on from the last checkpoint in `out`, bit for bit, or begin where there is none. A finished embedder
            is returned as it is.
        half: Write the weights in half precision.
        save_every: Steps from one checkpoint to the next; there is also one at each evaluation.
        log_every: Steps from one row of the metrics log to the next.

    Raises:
        ConfigError: the recipe can't be trained here, or `out` belongs to something else.
        DataError: a data file is wrong, or leaves nothing to train or choose with.
        ModelError: the base model can't be found or can't be trained.
    """
    folder = RunFolder(Path(out).absolute(), part="retriever")
    folder.check(resume=resume)
    job = _prepare(pipeline, data, folder, splits, {"base": base, "seed": seed})
    with folder.locked():
        versions = run.versions("sentence-transformers")
        folder.begin(_identity(job), {"versions": versions, "plan": asdict(job.plan)})
        if not folder.model.is_dir():
            _train(job, save_every=save_every, log_every=log_every)
            _finish(job, _provenance(job, data, splits, half=half), half=half)
    return retriever_card.read_metrics(folder.model)


def _prepare(
    pipeline: str,
    files: Sequence[str | Path],
    folder: RunFolder,
    splits: str | Path | None,
    instead: Mapping[str, str | int | None],
) -> _Job:
    whole = recipes.load_pipeline(pipeline)
    if whole.retriever_training is None:
        raise ConfigError(
            f'The pipeline "{pipeline}" has no [retriever_training] table, so its embedder can\'t be trained.'
        )
    recipe = recipes.changed(whole.retriever_training, instead)
    _check_machine(recipe)
    if whole.retriever.mode is Mode.SPARSE:
        raise ConfigError(
            f'The pipeline "{pipeline}" searches by terms alone (mode = "sparse"): set it to "hybrid" or "dense".'
        )
    base = open_encoder(recipe.base, recipe.max_length)
    data = load(files, splits=splits)
    pairs = pair(thinned(data.train, recipe))
    order = Batches(pairs, recipe)
    plan = retriever_plan(recipe, len(order))
    card = recipes.load_card(whole.index) if whole.index in recipes.names("indexes") else Card()
    held = replace(data, train=())
    return _Job(pipeline, instead, recipe, whole.retriever, card, base, held, pairs, order, plan, folder)


def _check_machine(recipe: RetrieverTrainingRecipe) -> None:
    if find_spec("accelerate") is None:
        raise ConfigError('Training needs the package "accelerate": pip install "odqa[train]"')
    if run.world_size() > 1:
        raise ConfigError(
            f"A retriever is trained by one process, but a launcher started {run.world_size()}. Start one."
        )
    check_precision(recipe)


def _identity(job: _Job) -> dict[str, object]:
    """What a run must share with the one that it goes on with."""
    searched = job.search.model_dump(mode="json", include={"mode", "dense_weight", "sparse_weight"})
    return {
        "recipe": job.recipe.model_dump(mode="json") | searched,
        "terms": job.card.terms.model_dump(),
        "index": {"sentences": job.card.sentences},
        "base": models.fingerprint(job.base.folder),
        "data": {f"file {number}": file.sha256 for number, file in enumerate(job.data.files, 1)},
        "splits": job.data.splits_sha256,
    }


def _train(job: _Job, *, save_every: int, log_every: int) -> None:
    from odqa.training.resumable import deterministic
    from odqa.training.retriever_loop import RetrieverTrainer, arguments

    checkpoint = checkpoints.last(job.folder.checkpoints)
    if checkpoint is not None and _is_trained(checkpoint, job):
        return
    negatives = _negatives(job)
    haystack = _haystack(job)
    model = _model(job)
    with quiet(), deterministic(), _bar(job) as tick:
        trainer = RetrieverTrainer(
            model,
            arguments(job.recipe, job.plan, job.folder, save_every=save_every, log_every=log_every),
            run=job.folder,
            recipe=job.recipe,
            plan=job.plan,
            order=job.order,
            collator=_collator(job, model, negatives),
            dense_weight=job.search.dense_weight,
            score=lambda weights: _score(job, haystack, weights),
        )
        trainer.record(job.folder.metrics, tick, after=checkpoint)
        trainer.go_on(checkpoint)


def _negatives(job: _Job) -> NDArray[np.int32]:
    """Those that the run found when it began, so that a resumed one needn't search again."""
    path = job.folder.root / _NEGATIVES
    if not path.is_file():
        draft = job.folder.draft(_NEGATIVES)
        with draft.open("wb") as file:
            np.save(file, mine(job.pairs, job.recipe, job.card.terms), allow_pickle=False)
        checkpoints.publish(draft, path)
    found: NDArray[np.int32] = np.load(path, allow_pickle=False)
    return found


def _collator(job: _Job, model: Any, negatives: NDArray[np.int32]) -> Collator:
    tokenize = tokenizer_of(model, job.base.max_length, sentences=job.card.sentences)
    index, weight = bm25(job.pairs, job.card.terms), terms_weight(job.search)
    return Collator(job.pairs, negatives, tokenize, lambda asked, rows: weight * index.search(asked).scores(rows))


def _model(job: _Job) -> Any:
    from transformers import set_seed

    set_seed(job.recipe.seed)
    model = load_encoder(job.base.folder, dropout=job.recipe.dropout)
    if job.recipe.freeze_embeddings:
        model[0].auto_model.get_input_embeddings().requires_grad_(requires_grad=False)
    return model


def _is_trained(checkpoint: Path, job: _Job) -> bool:
    """Whether a run was interrupted after its last step: one more would change the weights."""
    from odqa.training.course import is_exhausted

    state = checkpoints.state(checkpoint)
    done = state["global_step"] >= job.plan.steps
    return done or is_exhausted(state["log_history"], job.recipe.patience, CHOOSES)


@contextmanager
def _bar(job: _Job) -> Iterator[progress.Tick]:
    with progress.bar("Training", total=job.plan.steps, unit="steps") as tick:
        yield tick


def _haystack(job: _Job) -> Haystack:
    held = (*job.data.select, *job.data.calibrate, *job.data.apart)
    return Haystack(held, job.search, job.card)


def _score(job: _Job, haystack: Haystack, weights: Mapping[str, Any]) -> dict[str, float]:
    """Figures of weights in training on the `select` articles, through the embedder itself."""
    import torch

    folder = job.folder.draft("scored")
    try:
        with torch.random.fork_rng(), progress.bars(enabled=False):
            write_encoder(folder, job.base, weights)
            return haystack.embedded(Embedder(folder, device=run.torch_device())).figures(job.data.select)
    finally:
        shutil.rmtree(folder)


def _finish(job: _Job, made: Provenance, *, half: bool) -> None:
    """Write the best checkpoint as an embedder, score what was written, and put it in place whole."""
    step = checkpoints.state(_last(job))["best_global_step"]
    draft = job.folder.draft("model")
    weights = checkpoints.weights(checkpoints.path_of(job.folder.checkpoints, step))
    base = load_encoder(job.base.folder).state_dict()
    write_encoder(draft, job.base, mixed(weights, base, job.recipe.base_share), half=half)
    haystack = _haystack(job)
    select, calibrate = job.data.select, job.data.calibrate
    with quiet(), progress.bars(enabled=False):
        untrained, embedded = (
            haystack.embedded(Embedder(one, device=run.torch_device())) for one in (job.base.folder, draft)
        )
        trained = TrainedRetriever(
            folder=job.folder.model,
            step=step,
            paragraphs=len(haystack),
            select=embedded.figures(select),
            calibrate=embedded.figures(calibrate),
            untrained_select=untrained.figures(select),
            untrained_calibrate=untrained.figures(calibrate),
            retriever=embedded.fitted(calibrate),
        )
    retriever_card.write_metrics(draft, trained)
    retriever_card.write_card(draft, trained, made)
    checkpoints.publish(draft, job.folder.model)


def _last(job: _Job) -> Path:
    checkpoint = checkpoints.last(job.folder.checkpoints)
    if checkpoint is None:
        raise ConfigError(f"{job.folder.checkpoints} lost its checkpoints while it was trained in. Begin anew.")
    return checkpoint


def _provenance(job: _Job, files: Sequence[str | Path], splits: str | Path | None, *, half: bool) -> Provenance:
    given = (job.name, job.recipe, job.data, job.plan, job.folder)
    more = ["sentence-transformers"]
    return provenance(*given, files=files, splits=splits, half=half, instead=job.instead, libraries=more)
