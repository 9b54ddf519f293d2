"""Conversion to PyTorch: official names, constructor arguments, and loading into the official modules."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg3tf import Discriminator, Generator, build_generator
from sg3tf.convert import to_npz, to_torch
from sg3tf.convert.official_network import NO_CLAMP, OFFICIAL, UnsupportedNetworkError, from_config, to_config
from sg3tf.convert.weights import load_arrays, to_arrays
from sg3tf.models.configs import DiscriminatorConfig, GeneratorConfig
from sg3tf.models.presets import discriminator_preset, generator_preset
from tests.helpers.numerics import Array

TINY = {"channel_base": 32, "channel_max": 4, "z_dim": 6, "w_dim": 5, "label_dim": 3, "mapping_layers": 3}


def models() -> list[Any]:
    """Return models; the discriminator's last feature map has 4 channels, rows and columns: only order differs."""
    presets = ("stylegan3-t", "stylegan3-r", "stylegan2")
    generators: list[Any] = [build_generator(generator_preset(preset, 16, **TINY)) for preset in presets]
    small = {"channel_base": 32, "channel_max": 4, "label_dim": 3, "mapping_layers": 2, "mbstd_channels": 2}
    return [*generators, Discriminator(discriminator_preset("stylegan3-t", 16, **small))]


def test_written_and_loaded_again_it_is_the_same(tmp_path: Path) -> None:
    for model in models():
        to_npz.save(model, tmp_path / "network.npz")
        with np.load(tmp_path / "network.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "options"}
        assert all(array.dtype == np.float32 for array in arrays.values())
        twin = type(model)(
            to_config(type(model.config), to_torch.options(tmp_path / "network.npz"), OFFICIAL[type(model.config)])
        )
        assert twin.config == model.config
        load_arrays(twin, arrays)
        for ours, theirs in zip(twin.weights, model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_arguments_of_the_official_constructors() -> None:
    r = from_config(generator_preset("stylegan3-r", 256, channel_base=16384))
    assert r["conv_kernel"] == 1 and r["use_radial_filters"] is True and r["channel_base"] == 32768
    assert r["img_resolution"] == 256 and r["mapping_kwargs"] == {"num_layers": 2}
    unclamped = from_config(GeneratorConfig(64, conv_clamp=NO_CLAMP))
    assert unclamped["conv_clamp"] is None
    D = from_config(discriminator_preset("stylegan3-t", 256, mbstd_group_size=8))
    assert D["architecture"] == "resnet"
    assert from_config(DiscriminatorConfig(64, architecture="orig"))["architecture"] == "orig"
    assert D["epilogue_kwargs"] == {"mbstd_group_size": 8, "mbstd_num_channels": 1}


@pytest.mark.parametrize("preset", [f"stylegan3-{letter}" for letter in "bdh"])
def test_networks_that_the_official_code_does_not_have(preset: str, tmp_path: Path) -> None:
    model = Generator.from_preset(preset, 16, channel_base=32, channel_max=2)
    with pytest.raises(UnsupportedNetworkError, match="the official code has no such network"):
        to_npz.save(model, tmp_path / "network.npz")
    assert not list(tmp_path.iterdir())
    before = model.get_weights()
    load_arrays(model, to_arrays(model))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Module:
    """Stand-in for torch.nn.Module."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays

    def state_dict(self) -> dict[str, Array]:
        return self.arrays

    def load_state_dict(self, state: dict[str, Array], strict: bool) -> None:
        assert not strict
        self.arrays |= state


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("torch")
    module.from_numpy = lambda array: array  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)


@pytest.mark.usefixtures("torch")
def test_filling_a_module(tmp_path: Path) -> None:
    model = models()[0]
    to_npz.save(model, tmp_path / "network.npz")
    arrays = to_arrays(model)
    zeros = {name: np.zeros_like(array) for name, array in arrays.items()}
    module = Module(zeros | {"synthesis.L0_36_4.up_filter": np.ones(12)})
    to_torch.fill(module, tmp_path / "network.npz")
    assert set(module.arrays) == {*arrays, "synthesis.L0_36_4.up_filter"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(module.arrays[name], array)


@pytest.mark.usefixtures("torch")
def test_a_module_that_does_not_fit_stays_as_it_is(tmp_path: Path) -> None:
    model = models()[0]
    to_npz.save(model, tmp_path / "network.npz")
    zeros = {name: np.zeros_like(array) for name, array in to_arrays(model).items()}
    del zeros["mapping.w_avg"]
    module = Module(zeros | {"mapping.fc0.bias": np.zeros(9), "mapping.fc3.bias": np.zeros(5)})
    with pytest.raises(ValueError, match="does not fit Module") as error:
        to_torch.fill(module, tmp_path / "network.npz")
    assert str(error.value).splitlines()[1:] == [
        "  mapping.fc0.bias: (5,) in the file, (9,) in the module",
        "  mapping.fc3.bias: absent in the file, (5,) in the module",
        "  mapping.w_avg: (5,) in the file, absent in the module",
    ]
    assert not any(array.any() for array in module.arrays.values())
