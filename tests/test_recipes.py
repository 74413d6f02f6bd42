"""Recipes and cards: every built-in one parses, every mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from odqa import recipes
from odqa.errors import ConfigError
from odqa.recipes import Card, Pipeline

READER = '[reader]\nmodel = "m"\n'


@pytest.mark.parametrize("name", recipes.names("pipelines"))
def test_every_built_in_recipe_parses(name: str) -> None:
    assert recipes.load_pipeline(name).description


@pytest.mark.parametrize("name", recipes.names("indexes"))
def test_every_built_in_card_parses(name: str) -> None:
    assert recipes.load_card(name).source


def test_the_published_readers_have_recipes_with_expected_scores() -> None:
    published = {"bert-base-squad2", "scibert-squad2", "albert-xlarge-squad2", "spanbert-squad2", "roberta-1b-squad2"}
    loaded = {name: recipes.load_pipeline(name) for name in recipes.names("pipelines")}
    assert published | {"default"} <= loaded.keys()
    for name in published:
        assert loaded[name].training is not None
        assert loaded[name].expected is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description = ", r"t\.toml is not TOML"),
        (READER, r'"description" is missing'),
        ('descripton = "x"\n' + READER, 'unknown key "descripton"; the nearest known one is "description"'),
        ('description = "x"\n' + READER + "docstride = 3", 'unknown key "reader.docstride".*"doc_stride"'),
        ('description = "x"\n' + READER + "zzzz = 3", 'unknown key "reader.zzzz"; known here: model, max_length'),
        ('description = "x"\n[retriever]\nmode = "both"\n' + READER, "retriever.mode = 'both': .*'dense', 'sparse'"),
        ('description = "x"\n[retriever]\ntop_k = "9"\n' + READER, "retriever.top_k = '9': .*valid integer"),
        ('description = "x"\n[retriever]\ntop_k = 0\n' + READER, "retriever.top_k = 0: .*greater than 0"),
        ('description = "x"\n' + READER + "doc_stride = 8", r"doc_stride \(8\) must be at least max_answer_length"),
        ('description = "x"\n' + READER + "max_length = 256", "max_length .256. must be more than twice doc_stride"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.parse(Pipeline, text, "t.toml")


def test_a_mistake_in_a_nested_table_of_a_card_is_named() -> None:
    with pytest.raises(ConfigError, match=r'unknown key "passages\.max_token"; the nearest known one is "max_tokens"'):
        recipes.parse(Card, "[passages]\nmax_token = 3", "card.toml")


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r'No pipeline "defualt"\. Built in: .*default'):
        recipes.load_pipeline("defualt")


@pytest.mark.parametrize("name", ["../secrets", "/etc/passwd", "", ".hidden", "a/b"])
def test_a_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="can't name"):
        recipes.load_pipeline(name)


def test_what_ends_in_toml_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('description = "mine"\n' + READER + "null_threshold = 0.0\n")
    assert recipes.load_pipeline(str(path)).description == "mine"
    with pytest.raises(ConfigError, match="No pipeline"):
        recipes.load_pipeline(str(tmp_path / "none.toml"))
