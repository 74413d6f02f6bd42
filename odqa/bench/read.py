"""Passages to answers: odqa's engine, plain torch on the same weights, and peers in other interpreters."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odqa import models
from odqa.bench import peers, work
from odqa.bench.embed import threads, torch_device
from odqa.bench.machine import machine
from odqa.bench.report import Report, Value
from odqa.bench.rounds import Contestant, Local, Measured, compete
from odqa.bench.work import Task
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe
from odqa.runtime import Kind, TokenBatch
from odqa.text import normalize_answer
from odqa.types import Span

Best = tuple[str, tuple[str, ...]]
"""The best answer over a task's passages, and the best of each passage; empty where there is none."""
Found = list[Best]


def measure(
    recipe: ReaderRecipe,
    *,
    questions: Sequence[str] = (),
    data: str | None = None,
    pairs: int = 500,
    top_k: int = 10,
    rounds: int = 3,
    device: str | None = None,
    against: Sequence[str] = (),
) -> Report:
    """Read the same question-passage pairs in turns with odqa, with plain torch in float32, and with peers.

    All read twice: a pair a call, and a question with `top_k` passages a call; always for the best span.

    Args:
        recipe: The reader and its lengths, which peers get too where they have such options.
        questions: Asked of the bundled corpus where there is no `data`; made from its titles where none are given.
        data: Questions with their passages, in SQuAD form.
        pairs: Question-passage pairs of each of the two.
        top_k: Passages of a question in the second.
        rounds: Times that each reads all of them.
        device: Where odqa's models run; see `odqa.runtime`.
        against: Interpreters whose peers take part.

    Returns:
        Rates, each with the ratio of odqa's to it and the share of answers that are odqa's, after SQuAD normalisation.

    Raises:
        ModelError: the reader can't be loaded.
        DataError: the data can't be read.
        BenchError: an interpreter has no peer, or there is nothing to read.
    """
    found = [peers.installed(python, "read") for python in against]
    singles, together = work.tasks(data, questions, pairs=pairs, top_k=top_k)
    reader, there = Reader(recipe, device=device), torch_device(device)
    own: list[Contestant[Task, Found]] = [
        Local("odqa", lambda tasks: [best(reader, task) for task in tasks]),
        _plain(reader, there),
    ]
    given = recipe.model_dump(mode="json") | {"model": str(models.locate(recipe.model)), "device": there}
    given["precision"] = "float16" if there.startswith("cuda") else "float32"
    with peers.started(found, given, _bests) as (others, failed):
        rows = [
            row
            for name, tasks in (("single pairs", singles), (f"{len(together[0].passages)} passages", together))
            for row in _rows(name, tasks, compete([*own, *others], tasks, rounds=rounds))
        ]
    settings: dict[str, Value] = {"reader": recipe.model, "pairs": len(singles), "questions": len(together)}
    settings |= {"rounds": rounds, **threads(others)}
    return Report("read", settings, rows, machine(device), failed)


def best(reader: Reader, task: Task) -> Best:
    """The reader's best span over all passages, and in each of them."""
    readings = reader.read([(task.question, text) for text in task.passages])
    firsts = [next(iter(reading.spans), Span(0, 0, -np.inf)) for reading in readings]
    answers = [text[span.start : span.end] for span, text in zip(firsts, task.passages, strict=True)]
    margins = [span.margin for span in firsts]
    return answers[margins.index(max(margins))], tuple(answers)


class PlainTorch:
    """The transformers model as it is, in float32: an engine without anything that makes one fast."""

    max_tokens = 4_096

    def __init__(self, folder: Path, device: str) -> None:
        """Load the model in `folder` onto a torch device.

        Raises:
            ModelError: it can't be loaded.
        """
        import torch

        from odqa.runtime.torch_engine import load_model

        self._device = device
        self._segments = models.has_segments(folder)
        self._model = load_model(folder, Kind.READER, dtype=torch.float32).to(device).eval()

    def run(self, batch: TokenBatch) -> tuple[NDArray[np.float32], ...]:
        """See `odqa.runtime.Engine`."""
        import torch

        given = {"input_ids": batch.ids, "attention_mask": batch.mask}
        given |= {"token_type_ids": batch.segments} if self._segments else {}
        with torch.inference_mode():
            output = self._model(**{name: torch.from_numpy(array).to(self._device) for name, array in given.items()})
        return output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()


def _plain(reader: Reader, device: str) -> Local[Task, Found]:
    """The same windows and the same decoding, on plain torch."""
    plain = copy(reader)
    plain._engine = PlainTorch(models.locate(reader.recipe.model), device)
    return Local(f"torch float32, {device}", lambda tasks: [best(plain, task) for task in tasks])


def _bests(found: Any) -> Found:
    """Of a peer's answers: a text is the best over a task's passages; a list has one for each, and no best."""
    return [
        ("", tuple(one or "" for one in answer)) if isinstance(answer, list) else (answer or "", ()) for answer in found
    ]


def _rows(name: str, tasks: Sequence[Task], measured: Sequence[Measured[Found]]) -> list[dict[str, Value]]:
    odqa, pairs = measured[0], sum(len(task.passages) for task in tasks)
    return [
        {
            "work": name,
            "what": one.name,
            "pairs/s": pairs / one.seconds,
            "ms/question": 1000 * one.seconds / len(tasks),
            "odqa's ratio": one.seconds / odqa.seconds,
            "same answers": agreement(one.found, odqa.found),
        }
        for one in measured
    ]


def agreement(found: Found, odqa: Found) -> float:
    """The share of answers that are odqa's, after SQuAD normalisation: the best ones, or passage by passage."""
    same = [
        normalize_answer(text) == normalize_answer(other)
        for (best, each), (ours, our_each) in zip(found, odqa, strict=True)
        for text, other in (zip(each, our_each, strict=True) if each and not best else [(best, ours)])
    ]
    return float(np.mean(same))
