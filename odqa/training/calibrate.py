"""`odqa calibrate`: a pipeline's thresholds, probabilities and promises, fitted on held-out questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from odqa import progress, recipes
from odqa.corpus.squad import shown_title
from odqa.errors import DataError, IndexNotFoundError
from odqa.evaluation import dataset
from odqa.evaluation.answers import with_known_documents
from odqa.evaluation.dataset import Question
from odqa.evaluation.outcomes import check
from odqa.index import Index
from odqa.models import file_sha256
from odqa.pipeline import Pipeline, reader_recipe
from odqa.reader import Reader
from odqa.recipes import Card
from odqa.retriever import Retriever
from odqa.training.data import read_splits
from odqa.training.fit import Calibrated, Read, fit
from odqa.types import Document

FITTING, CERTIFYING = "calibrate", "certify"
_BATCH = 32


def calibrate(
    pipeline: str,
    data: str | Path,
    *,
    index: str | None = None,
    splits: str | Path | None = None,
    top_k: int | None = None,
    confidence: float = 0.9,
    seed: int = 42,
) -> Calibrated:
    """Read held-out questions through a whole pipeline and fit its calibration.

    Args:
        pipeline: A recipe's name or `.toml` file.
        data: Questions in SQuAD form that neither the reader nor the retriever was trained with.
        index: The index to ask. Without one, the held-out articles' own paragraphs are indexed by the card of the
            recipe's index, under the name `PIPELINE-held-out`, and stay there for the next time.
        splits: JSON with article titles by purpose under "splits"; `calibrate` and `certify` among them. Without it,
            half of the articles are drawn for each.
        top_k: Passages to read; the recipe's number where None.
        confidence: That each promise of a risk is kept, over the draw of articles.
        seed: Of the draw.

    Raises:
        DataError: the data is wrong or too little.
        OdqaError: as `Pipeline.load`.
    """
    fitting, certifying, documents = _questions(data, splits, seed)
    loaded = _pipeline(pipeline, index, documents)
    count = loaded.retriever.recipe.top_k if top_k is None else top_k
    read = _read(loaded, [*fitting, *certifying], count)
    fitted = fit(loaded.retriever.settings, read[: len(fitting)], read[len(fitting) :], confidence=confidence)
    about: dict[str, Any] = {
        "pipeline": Path(pipeline).stem,
        "index": loaded.retriever.index.name,
        "passages": len(loaded.retriever.index),
        "top_k": count,
        "data_sha256": file_sha256(Path(data)) if Path(data).is_file() else str(data),
        "splits_sha256": "" if splits is None else file_sha256(Path(splits)),
        "questions": {FITTING: len(fitting), CERTIFYING: len(certifying)},
    }
    return replace(fitted, calibration=fitted.calibration.model_copy(update={"fitted_on": about}))


def _read(pipeline: Pipeline, questions: Sequence[Question], top_k: int) -> list[Read]:
    asked = with_known_documents(pipeline.retriever.index, questions)
    check(pipeline.reader, asked)
    found: list[Read] = []
    with progress.bar("Reading", total=len(asked), unit="questions") as tick:
        for begin in range(0, len(asked), _BATCH):
            batch = asked[begin : begin + _BATCH]
            texts = [question.question for question in batch]
            hits = pipeline.retriever.retrieve(texts, top_k=top_k)
            found += map(Read, batch, hits, pipeline.read(texts, hits))
            tick.advance(len(batch))
    return found


def _pipeline(name: str, index: str | None, documents: Sequence[Document]) -> Pipeline:
    """The pipeline without a calibration, over an index of its own where none is named."""
    recipe = recipes.load_pipeline(name)
    if index is None:
        opened = _index_of(f"{Path(name).stem}-held-out", documents, recipes.load_card(recipe.index))
    else:
        opened = Index.open(index)
    return Pipeline(Retriever(opened, recipe.retriever), Reader(reader_recipe(recipe)), name=name)


def _index_of(name: str, documents: Sequence[Document], card: Card) -> Index:
    """The index of that name, built anew where there is none or it is not one of these documents by this card."""
    try:
        opened = Index.open(name)
        known = opened.generation.card == card and list(opened.documents()) == documents
    except IndexNotFoundError:
        known = False
    if not known:
        Index.build(name, documents, card=card, replace=True)
        opened = Index.open(name)
    return opened


def _questions(
    data: str | Path, splits: str | Path | None, seed: int
) -> tuple[list[Question], list[Question], list[Document]]:
    """The questions to fit and to certify with, and the documents of all held-out articles."""
    questions = dataset.load(data, split="train", need_context=False)
    purposes = _drawn(questions, seed) if splits is None else read_splits(Path(splits))
    parts = [
        [question for question in questions if question.article in set(purposes.get(purpose, ()))]
        for purpose in (FITTING, CERTIFYING)
    ]
    for purpose, part in zip((FITTING, CERTIFYING), parts, strict=True):
        if not part:
            raise DataError(f'{data} holds no question of the articles named "{purpose}". Give other splits or data.')
        if len({question.is_impossible for question in part}) == 1:
            kind = "answerable" if part[0].is_impossible else "unanswerable"
            raise DataError(
                f'{data} holds no {kind} question of the articles named "{purpose}": probabilities need both kinds.'
            )
    held_out = {title for titles in purposes.values() for title in titles}
    paragraphs = {one.document_id: one for one in questions if one.article in held_out and one.context}
    return parts[0], parts[1], [Document(id, one.context, shown_title(one.title)) for id, one in paragraphs.items()]


def _drawn(questions: Sequence[Question], seed: int) -> dict[str, list[str]]:
    articles = sorted({question.article for question in questions})
    if len(articles) < 4:
        raise DataError(
            f"The questions are about {len(articles)} articles: too few to fit with some and certify with others. "
            'Give at least 4, told apart by "title".'
        )
    order = [articles[row] for row in np.random.default_rng(seed).permutation(len(articles))]
    return {FITTING: order[::2], CERTIFYING: order[1::2]}
