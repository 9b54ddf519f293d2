"""Pickles of the official code for TensorFlow 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg3tf.convert import nvidia_pickle
from sg3tf.convert.from_pickle import convert_pickle
from sg3tf.convert.official_network import NO_CLAMP, UnsupportedNetworkError
from sg3tf.models.loading import load
from sg3tf.utils.safe_pickle import PickleError
from tests.conftest import Golden
from tests.helpers.numerics import Array, nchw, relative_error
from tests.helpers.official_networks import parameters
from tests.helpers.official_writer import Network, dumps

GENERATOR = {
    "num_channels": 3, "resolution": 32, "label_size": 3, "latent_size": 16, "dlatent_size": 16, "mapping_fmaps": 16,
    "mapping_layers": 4, "fmap_base": 128, "fmap_max": 24, "num_fp16_res": 4,
}  # fmt: skip
DISCRIMINATOR = {
    "num_channels": 3, "resolution": 32, "label_size": 0, "fmap_base": 256, "fmap_max": 24, "mbstd_group_size": 2
}  # fmt: skip


def generator_variables(official: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return variables of mapping and synthesis, with every axis written out and no code of the converter."""
    mapping = {}
    for name, ours in [("LabelEmbed", "embed"), *((f"Dense{i}", f"fc{i}") for i in range(4))]:
        mapping[f"{name}/weight"] = np.einsum("oi->io", official[f"mapping.{ours}.weight"])
        mapping[f"{name}/bias"] = official[f"mapping.{ours}.bias"]
    synthesis = {"4x4/Const/const": official["synthesis.b4.const"][None]}
    layers = {
        "4x4/Conv": "b4.conv1",
        "8x8/Conv0_up": "b8.conv0",
        "8x8/Conv1": "b8.conv1",
        "16x16/Conv0_up": "b16.conv0",
    }
    layers |= {"16x16/Conv1": "b16.conv1", "32x32/Conv0_up": "b32.conv0", "32x32/Conv1": "b32.conv1"}
    for number, (name, ours) in enumerate(layers.items()):
        prefix = f"synthesis.{ours}"
        synthesis[f"noise{number}"] = official[f"{prefix}.noise_const"][None, None]
        synthesis[f"{name}/noise_strength"] = official[f"{prefix}.noise_strength"][()]  # a scalar, not an array
    layers |= {f"{r}x{r}/ToRGB": f"b{r}.torgb" for r in (4, 8, 16, 32)}
    for name, ours in layers.items():
        prefix = f"synthesis.{ours}"
        kernel = np.einsum("oihw->hwio", official[f"{prefix}.weight"])
        if name.endswith("Conv0_up"):
            kernel = np.rot90(kernel, 2)
        synthesis[f"{name}/weight"] = np.ascontiguousarray(kernel)
        synthesis[f"{name}/bias"] = official[f"{prefix}.bias"]
        synthesis[f"{name}/mod_weight"] = np.einsum("oi->io", official[f"{prefix}.affine.weight"])
        synthesis[f"{name}/mod_bias"] = np.float32(official[f"{prefix}.affine.bias"] - np.float64(1))
    return mapping, synthesis


def discriminator_variables(official: dict[str, Array]) -> dict[str, Array]:
    layers = {"32x32/FromRGB": "b32.fromrgb", "4x4/Conv": "b4.conv", "4x4/Dense0": "b4.fc", "Output": "b4.out"}
    for r in (32, 16, 8):
        layers |= {f"{r}x{r}/Conv0": f"b{r}.conv0", f"{r}x{r}/Conv1_down": f"b{r}.conv1", f"{r}x{r}/Skip": f"b{r}.skip"}
    variables = {}
    for name, ours in layers.items():
        weight = official[f"{ours}.weight"]
        kernel = np.einsum("oihw->hwio" if weight.ndim == 4 else "oi->io", weight)
        variables[f"{name}/weight"] = np.ascontiguousarray(kernel)
        if f"{ours}.bias" in official:
            variables[f"{name}/bias"] = official[f"{ours}.bias"]
    return variables


def generator(official: dict[str, Array], **options: Any) -> Network:
    mapping, synthesis = generator_variables(official)
    return Network(
        "G_main",
        {**GENERATOR, **options},
        {"dlatent_avg": official["mapping.w_avg"], "lod": np.float32(0)},
        mapping=Network("G_mapping", {}, mapping),
        synthesis=Network("G_synthesis", {}, synthesis),
    )


def discriminator(official: dict[str, Array], **options: Any) -> Network:
    return Network("D_stylegan2", {**DISCRIMINATOR, **options}, discriminator_variables(official))


def unlabeled(official: dict[str, Array]) -> dict[str, Array]:
    """Return a discriminator without labels, made from one with labels, which are not read."""
    kept = {name: array for name, array in official.items() if not name.startswith("mapping.")}
    return kept | {"b4.out.weight": kept["b4.out.weight"][:1], "b4.out.bias": kept["b4.out.bias"][:1]}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_variable_is_in_its_place(protocol: int, golden: Golden, tmp_path: Path) -> None:
    official = parameters(golden("generator_sg2_32"))
    discriminator_arrays = unlabeled(parameters(golden("training_step"), "D/"))
    path = tmp_path / "network.pkl"
    path.write_bytes(dumps((generator(official), discriminator(discriminator_arrays), generator(official)), protocol))
    for name, expected in (("G_ema", official), ("G", official), ("D", discriminator_arrays)):
        network = nvidia_pickle.read(path, name)
        assert sorted(network.arrays) == sorted(expected)
        for key, array in expected.items():
            # Taking 1 from a bias and adding it again rounds twice, by half a unit in the last place of at most 4.
            tolerance = 2**-21 if key.startswith("synthesis") and key.endswith("affine.bias") else 0
            np.testing.assert_allclose(network.arrays[key], array, rtol=0, atol=tolerance, err_msg=key)
            assert network.arrays[key].dtype == np.float32
    assert network.origin == "TensorFlow 1"
    assert network.config.conv_clamp == NO_CLAMP  # the default there
    assert network.config.channel_base == 512
    assert nvidia_pickle.read(path).config.mapping_layers == 4


def test_golden_images(golden: Golden, tmp_path: Path) -> None:
    arrays = golden("generator_sg2_32")
    network = generator(parameters(arrays))
    (tmp_path / "network.pkl").write_bytes(dumps((network, network, network)))
    G = load(convert_pickle(tmp_path / "network.pkl", tmp_path / "out") / "G_ema.keras")
    images = G({"z": arrays["z"], "label": arrays["c"]})
    assert relative_error(nchw(images), arrays["image_nchw"]) < 1e-5


def broken(golden: Golden, folder: Path, name: str = "G_ema", **changes: Any) -> Path:
    """Return a file with one change: an option of the constructor, or the variables."""
    official = parameters(golden("generator_sg2_32"))
    variables = changes.pop("variables", {})
    G, D = (
        generator(official, **changes),
        discriminator(unlabeled(parameters(golden("training_step"), "D/")), **changes),
    )
    G.state["components"]["synthesis"].state["variables"] += list(variables.items())
    (folder / "network.pkl").write_bytes(dumps((G, D, G)))
    return folder / "network.pkl"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "orig"}, "architecture='orig': only 'skip' is supported"),
        ({"mapping_lrmul": 0.1}, "mapping_lrmul=0.1: only 0.01"),
        ({"resample_kernel": [1, 2, 1]}, r"resample_kernel=\[1, 2, 1\]: only"),
        ({"use_spectral_norm": True}, "use_spectral_norm=True: unknown option"),
        (
            {"variables": {"LabelConcat/weight": np.ones([3, 16], np.float32)}},
            "'synthesis/LabelConcat/weight': unknown",
        ),
        ({"variables": {"4x4/Conv/weight": np.ones([3, 16], np.float32)}}, r"Conv/weight' has shape \(3, 16\)"),
        ({"variables": {"4x4/Conv/weight": "text"}}, "is not an array"),
    ],
)
def test_other_networks_are_refused(changes: Any, message: str, golden: Golden, tmp_path: Path) -> None:
    with pytest.raises((UnsupportedNetworkError, PickleError), match=message):
        nvidia_pickle.read(broken(golden, tmp_path, **changes))


def test_discriminators_with_labels_are_refused(golden: Golden, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedNetworkError, match="label_size=3: discriminators with labels are not read"):
        nvidia_pickle.read(broken(golden, tmp_path, label_size=3), "D")
