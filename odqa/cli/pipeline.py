"""`odqa pipeline`: recipes."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def pipeline() -> None:
    """Look at recipes and make your own."""


@pipeline.command("list")
def list_() -> None:
    """List the built-in recipes."""
    from odqa import recipes
    from odqa.cli import render

    loaded = [(name, recipes.load_pipeline(name)) for name in recipes.names("pipelines")]
    rows = [(name, _f1(recipe), recipe.description) for name, recipe in loaded]
    render.table(["name", "expected F1", "description"], rows, numbers=["expected F1"])


def _f1(recipe: object) -> str:
    expected = getattr(recipe, "expected", None)
    return f"{expected.f1:.1f}" if expected else ""


@pipeline.command()
@click.argument("name")
def show(name: str) -> None:
    """Check and print the recipe NAME, or the one in a .toml file."""
    from odqa import recipes

    recipes.load_pipeline(name)
    click.echo(recipes.find("pipelines", name).read_text(encoding="utf-8"), nl=False)


@pipeline.command()
@click.argument("name")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def copy(name: str, target: Path) -> None:
    """Copy the recipe NAME to TARGET, a new .toml file."""
    from odqa import recipes
    from odqa.errors import ConfigError

    recipes.load_pipeline(name)
    if target.suffix != ".toml":
        raise ConfigError(f'"{target}" must end in .toml, or odqa takes it for a built-in name.')
    try:
        with target.open("xb") as file:
            file.write(recipes.find("pipelines", name).read_bytes())
    except OSError as error:
        raise ConfigError(f"Can't write {target}: {error.strerror}.") from None
    click.echo(f'Copied to {target}. Use it: odqa ask --pipeline {target} "..."')
