"""Data sets of the `datasets` library: saved on disk, in a folder, or on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from odqa.corpus.streams import one_line
from odqa.corpus.tables import Row
from odqa.errors import CorpusError


def is_saved(path: Path) -> bool:
    """Whether `path` is a folder that `save_to_disk` wrote."""
    names = ("dataset_info.json", "state.json")
    return (path / "dataset_dict.json").is_file() or all((path / name).is_file() for name in names)


def rows(source: str) -> Iterator[Row]:
    """The rows of `NAME[:CONFIG][@SPLIT]`, streamed; the split is `train` where none is named.

    NAME is a folder that `save_to_disk` wrote, another folder of data files, or a name on the hub.

    Raises:
        CorpusError: the data set, its configuration or its split can't be found or read.
    """
    try:
        for number, values in enumerate(_flat(_load(source))):
            yield Row(f"{source}, row {number}", values)
    except CorpusError:
        raise
    except Exception as error:  # loaders and the network fail with errors of many libraries
        raise CorpusError(f'Can\'t read the data set "{source}": {one_line(error)}.') from error


def _load(source: str) -> Any:
    from datasets import load_dataset, load_from_disk

    name, config, split = _parts(source)
    if not is_saved(Path(name)):
        return load_dataset(name, config, split=split, streaming=True)
    saved = load_from_disk(name)
    if not isinstance(saved, dict):
        return saved
    if split not in saved:
        raise CorpusError(f'{name} has no split "{split}"; say {name}@SPLIT with one of: {", ".join(saved)}.')
    return saved[split]


def _parts(source: str) -> tuple[str, str | None, str]:
    if Path(source).exists():
        return source, None, "train"
    name, _, split = source.partition("@")
    if Path(name).exists():
        return name, None, split or "train"
    name, _, config = name.partition(":")
    return name, config or None, split or "train"


def _flat(dataset: Any) -> Any:
    """The data set without columns that are no scalars, so that no image or sound is decoded."""
    from datasets import ClassLabel, Value

    if dataset.features is None:
        return dataset
    flat = [name for name, kind in dataset.features.items() if isinstance(kind, Value | ClassLabel)]
    return dataset.select_columns(flat)
