"""`odqa doctor`: what is installed, where things are, what is wrong."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from odqa.text import counted

_PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "datasets", "pyarrow", "bm25s")


@click.command()
def doctor() -> None:
    """Say what is installed, where things are, and what is wrong."""
    from odqa import __version__, config
    from odqa.cli import render

    problems: list[str] = []
    rows = [
        ("odqa", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("machine", f"{platform.system()} {platform.machine()}, {counted(os.cpu_count() or 1, 'processor')}"),
        *((name, _version(name, problems)) for name in _PACKAGES),
        ("faiss", _faiss(problems)),
        ("GPU", _gpu(problems)),
        ("engine", _engine()),
        ("home", f"{config.home()}{' ($ODQA_HOME)' if os.environ.get('ODQA_HOME') else ''}"),
        ("indexes", _indexes()),
        ("embedder", _model("minilm-l6-retriever", problems)),
        ("reader", _reader(problems)),
    ]
    render.table(["what", "found"], rows)
    for problem in problems:
        click.echo(f"Problem: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _version(package: str, problems: list[str]) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        problems.append(f"{package} is not installed: pip install {package}")
        return "missing"


def _faiss(problems: list[str]) -> str:
    from odqa.index import vectors

    found = vectors.installed()
    if not found:
        problems.append('faiss is not installed: pip install "odqa[cpu]", or "odqa[gpu]" with a GPU')
        return "missing"
    if len(found) > 1:
        problems.append(f"{' and '.join(found)} overwrite each other's files: uninstall both, then install one")
    described = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"{described}, {counted(vectors.gpus(), 'GPU')}"


def _gpu(problems: list[str]) -> str:
    from odqa.corpus.streams import one_line

    try:
        import torch
    except (ImportError, OSError) as error:
        problems.append(f"torch can't be imported ({one_line(error)}): pip install torch")
        return "not known"
    if not torch.cuda.is_available():
        return "none that torch can use; running on the CPU"
    return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))


def _engine() -> str:
    from odqa.runtime import default_device

    described = {"openvino": "OpenVINO on the CPU", "cpu": 'torch on the CPU (faster: pip install "odqa[cpu]")'}
    return described.get(device := default_device(), f"torch on {device}")


def _indexes() -> str:
    from odqa.index import store

    return ", ".join(store.names()) or "none yet (odqa index build squad2-dev)"


def _model(name: str, problems: list[str]) -> str:
    from odqa import models
    from odqa.errors import OdqaError

    try:
        return f"{name} ({models.locate(name)})"
    except OdqaError as error:
        problems.append(str(error))
        return "missing"


def _reader(problems: list[str]) -> str:
    from odqa import recipes
    from odqa.pipeline import reader_recipe

    return _model(reader_recipe(recipes.load_pipeline("default")).model, problems)
