"""How a trained model came about, for its card."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from odqa import models, recipes
from odqa.recipes import RetrieverTrainingRecipe, TrainingRecipe
from odqa.training import run
from odqa.training.data import DataFile, TrainingData
from odqa.training.plan import Plan
from odqa.training.run import RunFolder

TRAINING = "## Training"
"""Where a card begins to say how a model was trained."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model was trained from, with, and by; `origin` is the untrained model at the beginning of it all."""

    pipeline: str
    recipe_toml: str
    base: str
    base_sha256: str
    origin: str
    files: Sequence[DataFile]
    splits_sha256: str
    seed: int
    effective_batch_size: int
    devices: int
    steps: int
    versions: Mapping[str, str]
    command: str
    half: bool
    lineage: str

    @property
    def split_by(self) -> str:
        """What says which articles are held out."""
        return f"the splits file with SHA-256 `{self.splits_sha256}`" if self.splits_sha256 else "a draw by title"

    @property
    def facts(self) -> str:
        """The end of a card: versions, command, data files, the recipe and how the base was trained, in Markdown."""
        files = "\n".join(f"| `{file.name}` | {file.questions:,} | `{file.sha256}` |" for file in self.files)
        return f"""- Versions: {", ".join(f"{name} {version}" for name, version in self.versions.items())}.
- Command: `{self.command}`

| data file | questions | SHA-256 |
|---|---|---|
{files}

## Recipe
```toml
{self.recipe_toml.strip()}
```{self.lineage}"""


def provenance(
    pipeline: str,
    training: TrainingRecipe | RetrieverTrainingRecipe,
    data: TrainingData,
    plan: Plan,
    folder: RunFolder,
    *,
    files: Sequence[str | Path],
    splits: str | Path | None,
    half: bool,
    instead: Mapping[str, str | int | None],
    libraries: Sequence[str] = (),
) -> Provenance:
    """Paths are cut down to names: a card travels further than the folders of one machine.

    `instead` are the recipe's values that others took the place of.
    """
    base = models.locate(training.base)
    options = ["--pipeline", Path(pipeline).name, *(part for file in files for part in ("--data", Path(file).name))]
    options += [
        part for key, value in instead.items() if value is not None for part in (f"--{key}", _short(str(value)))
    ]
    options += ["--out", folder.root.name] + ([] if splits is None else ["--splits", Path(splits).name])
    return Provenance(
        pipeline=Path(pipeline).stem,
        recipe_toml=recipes.find("pipelines", pipeline).read_text(encoding="utf-8"),
        base=_short(training.base),
        base_sha256=models.fingerprint(base),
        origin=_origin(base) or _short(training.base),
        files=data.files,
        splits_sha256=data.splits_sha256,
        seed=training.seed,
        effective_batch_size=plan.effective_batch_size,
        devices=plan.world_size,
        steps=plan.steps,
        versions=run.versions(*libraries),
        command=shlex.join(["odqa", "train", folder.part, *options, *(["--half"] if half else [])]),
        half=half,
        lineage=_lineage(base),
    )


def _short(name: str) -> str:
    """A trained model as its run's folder and its own, anything else as it is."""
    path = Path(name)
    return "/".join(path.parts[-2:]) if path.is_dir() else name


def _origin(base: Path) -> str:
    """The untrained model that a base which was trained here goes back to."""
    found = re.search(r"^base_model: (.+)$", _card(base), re.MULTILINE) if _lineage(base) else None
    return found[1] if found else ""


def _card(base: Path) -> str:
    card = base / "README.md"
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def _lineage(base: Path) -> str:
    """What the card of a base that was trained here says about that."""
    told = _card(base).partition(TRAINING)[2].strip()
    return f"\n\n{TRAINING} of its base\n{told}" if "Command: `odqa train" in told else ""
