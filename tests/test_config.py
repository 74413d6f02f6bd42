"""Where odqa keeps things."""

from __future__ import annotations

from pathlib import Path

import pytest

from odqa import config


def test_the_home_is_the_environments_then_the_checkouts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ODQA_HOME", str(tmp_path))
    assert config.home() == tmp_path
    monkeypatch.delenv("ODQA_HOME")
    assert config.home() == config.checkout() == Path(__file__).parent.parent


def test_an_installed_odqa_lives_in_the_platforms_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ODQA_HOME")
    monkeypatch.setattr(config, "PACKAGE", tmp_path / "site-packages" / "odqa")
    assert config.checkout() is None
    assert config.home().name == "odqa"


def test_bundled_sources_lie_in_the_package() -> None:
    assert Path(config.source_path("bundled/squad2-dev.jsonl.gz")).is_file()
    assert config.source_path("mine.jsonl") == "mine.jsonl"
