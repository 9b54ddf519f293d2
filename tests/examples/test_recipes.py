"""The files of flags in examples/recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from absl import flags

from sg3tf.models.loading import load
from trainer import option_flags
from trainer.config import FIELDS, Options

RECIPES = sorted(Path("examples/recipes").glob("*.flags"))
DATA = {"data": "photos", "data_name": "photos", "data_digest": "sha256:0", "num_images": 64}


def options_of(path: Path) -> Options:
    values = flags.FlagValues()
    option_flags.define_flags(values)
    values(["program", f"--flagfile={path}"])
    return Options(image_channels=3, label_dim=0, **DATA, **option_flags.given_options(values))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes(path: Path) -> None:
    """Every line is a flag that trains, and has no warning."""
    options = options_of(path)
    assert options.warnings == []
    names = re.findall("^--([a-z_]+)=", path.read_text(), re.MULTILINE)
    assert len(names) > 10 and len(set(names)) == len(names)
    assert set(names) <= set(FIELDS)


@pytest.mark.parametrize(("recipe", "network"), [("small-32", "portraits-32"), ("small-64", "portraits-64")])
def test_recipes_have_the_sizes_of_the_networks_they_start_from(recipe: str, network: str) -> None:
    ours, theirs = (
        options_of(Path(f"examples/recipes/{recipe}.flags")).generator(),
        load(f"examples/{network}.keras").config,
    )
    for field in ("resolution", "channel_base", "channel_max", "num_layers"):
        assert getattr(ours, field) == getattr(theirs, field), field
