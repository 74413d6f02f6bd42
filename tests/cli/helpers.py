"""Runs the program: in this process, where that saves seconds, or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from odqa.cli import run


def odqa(*arguments: str, stdin: str = "", **environment: str) -> CompletedProcess[str]:
    """`odqa ARGUMENTS` with a pipe for stdin, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["odqa", *arguments]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = run()
    return CompletedProcess(["odqa", *arguments], code, out.getvalue(), err.getvalue())


def process(*arguments: str, stdin: str = "", **environment: str) -> CompletedProcess[str]:
    """`odqa ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "odqa", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
        timeout=300,
    )


def recipe(folder: Path, reader: Path, index: str = "tiny", **settings: object) -> str:
    """A recipe file for the tiny reader; returns its path."""
    lines = [
        'description = "tiny"',
        f'index = "{index}"',
        "[retriever]",
        "top_k = 3",
        "[reader]",
        f'model = "{reader}"',
    ]
    lines += ["max_length = 48", "doc_stride = 16", "max_answer_length = 8"]
    lines += [f"{key} = {value}" for key, value in settings.items()]
    path = folder / "tiny.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)
