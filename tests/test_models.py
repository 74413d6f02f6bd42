"""Names to folders, fingerprints, old checkpoints."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from odqa import models
from odqa.embedder import Embedder
from odqa.errors import ModelError
from odqa.reader import Reader
from odqa.recipes import ReaderRecipe
from odqa.runtime import Kind, load_engine


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
    with pytest.raises(ModelError, match=r'Can\'t get "somebody/model" from the hub, and no whole copy is cached'):
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
    with pytest.raises(
        ModelError, match='No model "yours". Known: all-MiniLM-L6-v2, minilm-l6-retriever, minilm-l6-squad2, mine;'
    ):
        models.locate("yours")


@pytest.mark.parametrize("kept", [("config.json",), ("config.json", "model.safetensors", "tokenizer.json")])
@pytest.mark.parametrize("online", [True, False])
def test_a_cached_copy_that_another_program_left_is_completed(
    monkeypatch: pytest.MonkeyPatch, embedder_folder: Path, tmp_path: Path, kept: tuple[str, ...], online: bool
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    part = tmp_path / "part"
    part.mkdir()
    for name in kept:
        shutil.copy(embedder_folder / name, part / name)

    def fetch(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        if not local_files_only and not online:
            raise LocalEntryNotFoundError("no connection")
        return str(part if local_files_only else embedder_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    if online:
        assert models.locate("somebody/model") == embedder_folder
    elif "model.safetensors" in kept:
        assert models.locate("somebody/model") == part
    else:
        with pytest.raises(ModelError, match="no whole copy is cached: no connection"):
            models.locate("somebody/model")


def test_a_folder_is_named_in_full_and_hides_no_model_of_that_name(
    monkeypatch: pytest.MonkeyPatch, embedder_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(embedder_folder, tmp_path / "mine")
    (tmp_path / models.BASE_EMBEDDER).mkdir()
    monkeypatch.chdir(tmp_path)
    assert Embedder("mine").name == Embedder("./mine").name == str(tmp_path / "mine")
    assert models.locate(models.BASE_EMBEDDER) != Path(models.BASE_EMBEDDER)
    assert models.durable(models.BASE_EMBEDDER) == models.BASE_EMBEDDER
    assert models.durable("somebody/model") == "somebody/model"


def test_cut_off_weights_are_told(reader_folder: Path, embedder_folder: Path, tmp_path: Path) -> None:
    for kind, folder in ((Kind.READER, reader_folder), (Kind.ENCODER, embedder_folder)):
        copy = shutil.copytree(folder, tmp_path / kind)
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ModelError, match=f"Can't load a.* from .*{kind}"):
            load_engine(copy, kind)


def test_a_device_that_is_not_there_is_told(reader_folder: Path) -> None:
    with pytest.raises(ModelError, match='Device "cuda:99" can\'t be used: .* Use "cpu"'):
        load_engine(reader_folder, Kind.READER, device="cuda:99")
