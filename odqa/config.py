"""Where things are: the home folder, the indexes in it, the names they may have."""

from __future__ import annotations

import os
import re
from pathlib import Path

from odqa.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checkout() -> Path | None:
    """The source checkout that odqa runs from, or None where it was installed as a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "pipelines").is_dir() else None


def home() -> Path:
    """`$ODQA_HOME`, else the checkout, else the platform's data folder."""
    if chosen := os.environ.get("ODQA_HOME"):
        return Path(chosen).expanduser().absolute()
    if root := checkout():
        return root
    from platformdirs import user_data_path

    return user_data_path("odqa", appauthor=False)


def indexes_folder() -> Path:
    """The folder that holds one folder for each built index."""
    return home() / "indexes"


def models_folder() -> Path:
    """The folder that holds one folder for each model of your own, found by its name."""
    return home() / ".models"


def cache_folder() -> Path:
    """The folder for what can be made again."""
    return home() / ".cache"


def builtin_folder(kind: str) -> Path:
    """The folder of built-in `pipelines` or `indexes` files: inside a wheel's package, or beside it."""
    inside = PACKAGE / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def is_name(name: str) -> bool:
    """Whether `name` can be one folder's name and isn't read as a path to a TOML file."""
    return bool(_NAME.fullmatch(name)) and not name.endswith(".toml")


def check_name(name: str, what: str) -> str:
    """Return `name` if it can be one folder's name.

    Raises:
        ConfigError: it could leave its folder, or is read as a path to a TOML file.
    """
    if not is_name(name):
        raise ConfigError(
            f'"{name}" can\'t name {what}: use 1 to 64 letters, digits, ".", "_" or "-", '
            "beginning with a letter or digit and not ending in .toml."
        )
    return name


def source_path(source: str) -> str:
    """A corpus's place; what begins with `bundled/` lies in the package."""
    return str(PACKAGE / source) if source.startswith("bundled/") else source
