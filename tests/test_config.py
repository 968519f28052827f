"""Recipes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from cxray.config import SHIPPED_RECIPES, load_recipe, recipe_from_toml
from cxray.errors import ConfigError


@pytest.mark.parametrize("name", SHIPPED_RECIPES)
def test_shipped_recipes_load_and_open_with_a_header(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    header = (resources.files("cxray") / "recipes" / f"{name}.toml").read_text("utf-8").splitlines()[0]
    assert header.startswith("# ") and len(header) > 40
    assert recipe_from_toml(recipe.to_toml(), "test") == recipe


def test_the_fingerprint_follows_every_setting() -> None:
    plain = load_recipe("default")
    assert plain.fingerprint() == load_recipe("default").fingerprint()
    assert plain.fingerprint() != load_recipe("default", ["model.dropout=0.21"]).fingerprint()
    assert plain.fingerprint() != load_recipe("default", seed=1).fingerprint()


def test_overrides_take_toml_values_and_bare_words() -> None:
    recipe = load_recipe("default", ["train.epochs=3", "input.fit=stretch", "train.cache=false", "model.dropout=0"])
    assert (recipe.train.epochs, recipe.input.fit, recipe.train.cache, recipe.model.dropout) == (3, "stretch", False, 0)


def test_a_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[train]\nepochs = 2\n')
    assert load_recipe(str(tmp_path / "mine.toml")).train.epochs == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "Unknown setting 'train.epoch'. Did you mean 'epochs'?"),
        ("trian.epochs=3", "Unknown setting 'trian'. Did you mean 'train'?"),
        ("train.epochs=many", "Setting 'train.epochs' must be int, got 'many'"),
        ("train.cache=1", "Setting 'train.cache' must be bool, got 1"),
        ("train.epochs=true", "Setting 'train.epochs' must be int, got True"),
        ("train.epochs", "is not of the form section.key=value"),
        ("split.unit=folder", "split.unit must be 'patient' or 'film', got 'folder'"),
        ("split.validation_fraction=1.5", "between 0 and 0.9"),
        ("input.height=15", "16 to 2048"),
        ("model=small", "'model' is a section of settings"),
        ("augment.gamma=inf", "Setting 'augment.gamma' must be a finite number, got inf"),
        ("train.weight_decay=nan", "Setting 'train.weight_decay' must be a finite number, got nan"),
        ("train.warmup_epochs=-1", "train.warmup_epochs must be 0 or more"),
        ("split.minimum_validation_films=-5", "split.minimum_validation_films must be 0 or more"),
        ("name.x=1", "'name' is a setting, not a section"),
    ],
)
def test_settings_that_cannot_be_meant(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("default", [override])
    assert message in str(caught.value)


def test_unknown_and_broken_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        load_recipe("defualt")
    (tmp_path / "bad.toml").write_text("train = [")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_recipe(str(tmp_path / "bad.toml"))
