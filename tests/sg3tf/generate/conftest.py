"""Networks of 16 pixels, and commands run with their flags in this process."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from absl import flags

import sg3tf
from sg3tf.generate.keras_network import KerasNetwork
from sg3tf.generate.network import Network

_WIDTH = {"channel_base": 256, "channel_max": 8, "z_dim": 6, "w_dim": 5}


def tiny(preset: str, seed: int = 0, **config: Any) -> sg3tf.Generator:
    """A generator with random weights, few layers, and an average style vector that is not zero."""
    if preset != "stylegan2":
        config = {"num_layers": 6, **config}
    keras.utils.set_random_seed(seed)
    G = sg3tf.Generator.from_preset(preset, **{"resolution": 16, **_WIDTH, **config})
    G.mapping_network.w_avg.assign(keras.random.normal([G.config.w_dim]))
    return G


@pytest.fixture(scope="session")
def generator() -> sg3tf.Generator:
    return tiny("stylegan3-t")


@pytest.fixture(scope="session")
def network(generator: sg3tf.Generator) -> Network:
    return KerasNetwork(generator, "tiny", batch=3)


@pytest.fixture(scope="session")
def classes() -> Network:
    """Three classes, gray images."""
    return KerasNetwork(tiny("stylegan3-r", label_dim=3, image_channels=1), "classes")


@pytest.fixture(scope="session")
def stylegan2() -> Network:
    return KerasNetwork(tiny("stylegan2"), "stylegan2")


@pytest.fixture(scope="session")
def saved(generator: sg3tf.Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "tiny.keras"
    generator.save(path)
    return path


Command = Callable[..., None]


@pytest.fixture
def command(saved: Path) -> Command:
    """command(name, *arguments): runs a command on the network in `saved`, in this process, and lets errors through."""

    def run(name: str, *arguments: str) -> None:
        package = "sg3tf.cli" if name in ("project", "edit") else "sg3tf.cli.generate"
        module = importlib.import_module(f"{package}.{name}")
        options = flags.FlagValues()
        module.define_flags(options)
        options([name, f"--network={saved}", *arguments])
        module.main(options)

    return run
