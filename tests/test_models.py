"""Names to folders, fingerprints, old checkpoints."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from odqa import models
from odqa.errors import ModelError
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe


def test_the_bundled_embedder_is_the_original() -> None:
    folder = models.locate("all-MiniLM-L6-v2")
    assert models.file_sha256(folder / "model.safetensors") == models.BASE_EMBEDDER_SHA256
    assert models.locate("sentence-transformers/all-MiniLM-L6-v2") == folder


def test_another_embedder_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BASE_EMBEDDER_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="its SHA-256 is 53aa5117.*Install it anew"):
        models.locate("all-MiniLM-L6-v2")


def test_a_fingerprint_is_of_contents_not_of_places(reader_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(reader_folder, tmp_path / "copy")
    assert models.fingerprint(copy) == models.fingerprint(reader_folder)
    (copy / "README.md").write_text("a note")
    assert models.fingerprint(copy) == models.fingerprint(reader_folder)
    (copy / "tokenizer_config.json").write_text("{}")
    assert models.fingerprint(copy) != models.fingerprint(reader_folder)


def old_checkpoint(reader_folder: Path, folder: Path) -> dict[str, torch.Tensor]:
    shutil.copytree(reader_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return tensors


def test_an_old_checkpoint_is_converted_once(reader_folder: Path, tmp_path: Path) -> None:
    tensors = old_checkpoint(reader_folder, tmp_path / "old")
    converted = models.locate(str(tmp_path / "old"))
    assert not list(converted.glob("*.bin"))
    found = load_file(converted / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert models.locate(str(tmp_path / "old")) == converted


def test_a_checkpoint_that_would_run_code_is_refused(reader_folder: Path, tmp_path: Path) -> None:
    old_checkpoint(reader_folder, tmp_path / "old")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    with pytest.raises(ModelError, match="holds more than weights"):
        models.locate(str(tmp_path / "old"))


def test_a_hub_name_without_a_hub_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelError, match=r'Can\'t get "somebody/model" from the hub, and no copy is cached'):
        models.locate("somebody/model")


def test_a_hub_name_uses_the_local_copy_first(monkeypatch: pytest.MonkeyPatch, reader_folder: Path) -> None:
    import huggingface_hub

    asked = []

    def cached(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, local_files_only))
        return str(reader_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert models.locate("somebody/model") == reader_folder
    assert asked == [("somebody/model", True)]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='No model folder ".*/none"'):
        models.locate(str(tmp_path / "none"))


def test_the_threshold_tuned_in_training_holds_where_the_recipe_names_none(reader_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reader_folder, tmp_path / "tuned")
    assert models.tuned_threshold(folder) == 0.0
    (folder / "reader.json").write_text('{"null_threshold": 1.25}')
    assert Reader(ReaderRecipe(model=str(folder))).null_threshold == 1.25
    assert Reader(ReaderRecipe(model=str(folder), null_threshold=0.0)).null_threshold == 0.0
    (folder / "reader.json").write_text("{}")
    with pytest.raises(ModelError, match='must hold a number named "null_threshold"'):
        models.tuned_threshold(folder)


def test_a_model_of_ones_own_is_found_by_its_name(reader_folder: Path, home: Path) -> None:
    folder = shutil.copytree(reader_folder, home / ".models" / "mine")
    assert models.locate("mine") == folder
    with pytest.raises(ModelError, match='No model "yours". Known: all-MiniLM-L6-v2, minilm-l6-squad2, mine;'):
        models.locate("yours")
