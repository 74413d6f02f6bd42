"""Trains a tiny reader or retriever once undisturbed and once killed with -9 again and again, as a program of a test.

Torch is imported once, and each sitting is a forked child: nothing has started a thread before.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import accelerate
import safetensors.torch
import transformers.models.bert.modeling_bert

from odqa.training import card, checkpoints, course, loop, reader, retriever, retriever_card, retriever_loop

PRELOADED = (accelerate, safetensors.torch, transformers.models.bert.modeling_bert, loop, retriever_loop)
TRAIN = {"reader": reader.train_reader, "retriever": retriever.train_retriever}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(step: int) -> Callable[[], None]:
    """Die after an optimiser step."""

    def arm() -> None:
        original = course.Course.on_step_end

        def on_step_end(self: object, args: object, state: object, control: object, **others: object) -> None:
            original(self, args, state, control, **others)
            if state.global_step == step:
                kill()

        course.Course.on_step_end = on_step_end

    return arm


def in_save(name: str) -> Callable[[], None]:
    """Die when a folder is written in part: its weights are cut off."""

    def arm() -> None:
        original = checkpoints.publish

        def publish(draft: Path, folder: Path) -> None:
            if folder.name == name:
                os.truncate(draft / "model.safetensors", 100)
                kill()
            original(draft, folder)

        checkpoints.publish = publish

    return arm


def in_card() -> None:
    """Die when all but the card is written."""
    card.write_card = retriever_card.write_card = lambda *_: kill()


def sitting(arm: Callable[[], None], part: str, pipeline: str, data: str, splits: str, out: str) -> int:
    """One child's exit: 0, or minus the signal that ended it."""
    if (child := os.fork()) == 0:
        arm()
        TRAIN[part](pipeline, [data], out, splits=splits, resume=True, save_every=3, log_every=1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(part: str, pipeline: str, data: str, splits: str, root: str) -> None:
    undisturbed, disturbed = f"{root}/undisturbed", f"{root}/disturbed"
    given = (part, pipeline, data, splits)
    if sitting(lambda: None, *given, undisturbed) != 0:
        sys.exit("the undisturbed run failed")
    kills = [at_step(step) for step in range(1, 9)]
    kills[6:6] = [in_save("checkpoint-6")]
    for arm in (*kills, in_save("checkpoint-8"), in_save("model"), in_card):
        if sitting(arm, *given, disturbed) != -signal.SIGKILL:
            sys.exit("a sitting was not killed")
    if sitting(lambda: None, *given, disturbed) != 0:
        sys.exit("the last sitting failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
