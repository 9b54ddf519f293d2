"""Networks of other constructor options than the published ones, read from pickles, give the reference's outputs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sg3tf import build_generator
from sg3tf.convert import nvidia_pickle
from sg3tf.convert.from_pickle import build_model, convert_pickle
from sg3tf.convert.official_network import NO_CLAMP, UnsupportedNetworkError
from sg3tf.convert.weights import to_arrays
from sg3tf.models.configs import DiscriminatorConfig, GeneratorConfig, StyleGAN2Config
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.loading import load_model
from sg3tf.ops import use_backend
from tests.helpers.numerics import Array, nchw, relative_error
from tests.helpers.official_writer import EasyDict, dumps, network, usual_clamps
from tests.helpers.reference import discriminator as reference_discriminator
from tests.helpers.reference import generator as reference
from tests.helpers.reference import plan
from tests.helpers.reference.stylegan2 import Synthesis

RESOLUTION = 16
SIZES = {"channel_base": 64, "channel_max": 5}
TOLERANCE = 1e-5  # some ten layers of float32, rounded to 6e-8 each


def random_arrays(config: Any) -> dict[str, Array]:
    """Return parameters with which every layer matters, under the official names."""
    model = Discriminator(config) if isinstance(config, DiscriminatorConfig) else build_generator(config)
    rng = np.random.default_rng(0)
    arrays = {}
    for name, value in to_arrays(model).items():
        scale = 1 / config.mapping_lr_multiplier if name.startswith("mapping.fc") else 1.0
        arrays[name] = np.float32(scale * rng.normal(size=value.shape))
        if name.endswith("bias"):
            arrays[name] = np.float32(0.3 * arrays[name] + ("affine" in name))
    return arrays


def with_filters(arrays: dict[str, Array], taps: Any) -> dict[str, Array]:
    """Add the filters that the official code stores with convolutions."""
    taps = np.float32(taps) / np.float32(sum(taps))
    stored = np.outer(taps, taps) if len(taps) < 8 else taps
    owners = [name.removesuffix(".weight") for name, array in arrays.items() if array.ndim == 4]
    return arrays | {f"{owner}.resample_filter": stored for owner in owners if "torgb" not in owner}


def imported(folder: Path, name: str, stored: Any) -> Any:
    (folder / "network.pkl").write_bytes(dumps({name: stored}))
    with use_backend("matmul"):
        return build_model(nvidia_pickle.read(folder / "network.pkl", name))


MAPPING = EasyDict(num_layers=3, activation="linear", lr_multiplier=0.1, layer_features=7, embed_features=3)
GENERATORS: dict[str, dict[str, Any]] = {
    "resnet": {
        "c_dim": 2, "mapping_kwargs": MAPPING, "architecture": "resnet", "activation": "relu",
        "resample_filter": [1, 2, 1],
    },
    "orig": {"architecture": "orig", "activation": "linear", "resample_filter": np.array([1, 2, 3, 4, 4, 3, 2, 1])},
    "skip": {"resample_filter": [2, 1]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "clamps"),
    [("resnet", {"b8.conv1": None, "b16.torgb": 0.5}), ("orig", {"b4.conv1": 1.5}), ("skip", {"b8.torgb": None})],
)
def test_generators(name: str, clamps: dict[str, float | None], tmp_path: Path) -> None:
    """Clamps that differ between layers: 2, or `clamps`."""
    given = {"z_dim": 6, "w_dim": 5, "img_resolution": RESOLUTION, "img_channels": 3, **SIZES, **GENERATORS[name]}
    config = StyleGAN2Config(
        RESOLUTION, z_dim=6, w_dim=5, label_dim=given.get("c_dim", 0), **SIZES,
        architecture=given.get("architecture", "skip"), activation=given.get("activation", "lrelu"),
        resample_filter=tuple(given["resample_filter"]),
        **({"mapping_layers": 3, "mapping_activation": "linear", "mapping_lr_multiplier": 0.1, "mapping_features": 7,
            "embed_features": 3} if name == "resnet" else {}),
    )  # fmt: skip
    arrays = random_arrays(config)

    def clamp(layer: str) -> float | None:
        layer = layer.removeprefix("synthesis.")
        return clamps[layer] if layer in clamps else usual_clamps(2)(layer)

    stored = network("Generator", with_filters(arrays, given["resample_filter"]), given, clamps=clamp)
    G = imported(tmp_path, "G_ema", stored)

    z = np.random.default_rng(1).normal(size=[2, 6])
    label = np.eye(2) if config.label_dim else None
    is_linear = config.mapping_activation == "linear"
    layers, multiplier = config.mapping_layers, config.mapping_lr_multiplier
    w = reference.mapping(arrays, z, label, layers, multiplier, is_linear)
    ws = np.repeat(w[:, None], G.num_ws, axis=1)
    np.testing.assert_allclose(G.mapping(z, label), ws, rtol=0, atol=TOLERANCE * np.abs(ws).max())
    layer_names = [layer.name for layer in (*G.convs, *G.torgbs)]
    bounds = {layer: bound for layer in layer_names if (bound := clamps.get(layer, 2)) is not None}
    expected = Synthesis(
        arrays, RESOLUTION, config.architecture, config.activation, given["resample_filter"], bounds
    ).images(ws)
    with use_backend("matmul"):
        images = G(z if label is None else {"z": z, "label": label})
    assert relative_error(nchw(images), expected) < TOLERANCE
    assert relative_error(nchw(np.clip(images, -0.1, 0.1)), expected) > 0.1


DISCRIMINATORS: dict[str, tuple[dict[str, Any], DiscriminatorConfig]] = {
    "skip": (
        {"c_dim": 2, "architecture": "skip", "cmap_dim": 4, "conv_clamp": 3,
         "block_kwargs": {"activation": "relu", "resample_filter": [1, 2, 1]},
         "epilogue_kwargs": {"activation": "linear", "mbstd_num_channels": 0},
         "mapping_kwargs": EasyDict(num_layers=2, activation="linear", lr_multiplier=0.1, layer_features=7)},
        DiscriminatorConfig(
            RESOLUTION, label_dim=2, **SIZES, architecture="skip", cmap_dim=4, conv_clamp=3.0, activation="relu",
            resample_filter=(1, 2, 1), last_activation="linear", mbstd_channels=0, mapping_layers=2,
            mapping_activation="linear", mapping_lr_multiplier=0.1, mapping_features=7,
        ),
    ),
    "resnet": (
        {"epilogue_kwargs": {"mbstd_group_size": 2}, "block_kwargs": {"resample_filter": [1, 2, 3, 4, 4, 3, 2, 1]}},
        DiscriminatorConfig(
            RESOLUTION, **SIZES, conv_clamp=NO_CLAMP, mbstd_group_size=2, resample_filter=(1, 2, 3, 4, 4, 3, 2, 1),
            layer_clamps=(("b16.conv0", 0.5), ("b4.conv", 1.0)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators(name: str, tmp_path: Path) -> None:
    given, config = DISCRIMINATORS[name]
    given = {"c_dim": 0, "img_resolution": RESOLUTION, "img_channels": 3, **SIZES, **given}
    arrays = random_arrays(config)
    different = dict(config.layer_clamps)
    usual = usual_clamps(given.get("conv_clamp"))
    stored = network(
        "Discriminator",
        with_filters(arrays, config.resample_filter),
        given,
        clamps=lambda layer: different.get(layer, usual(layer)),
    )
    D = imported(tmp_path, "D", stored)
    assert D.config == config
    images = np.random.default_rng(1).normal(size=[2, RESOLUTION, RESOLUTION, 3])
    label = np.eye(2) if config.label_dim else None
    with use_backend("matmul"):
        logits = D(np.float32(images), label=label)
    expected = reference_discriminator.discriminator(arrays, config, nchw(images), label)
    assert relative_error(logits, expected) < TOLERANCE
    D.save(tmp_path / "D.keras")
    with use_backend("matmul"):
        np.testing.assert_array_equal(
            load_model(tmp_path / "D.keras", Discriminator)(np.float32(images), label=label), logits
        )


def test_layers_and_filters_of_stylegan3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight layers, one critically sampled, eight taps for every unit of a factor, one layer without a clamp."""
    config = GeneratorConfig(
        RESOLUTION, z_dim=6, w_dim=5, **SIZES, num_layers=8, num_critical=1, filter_size=8, conv_clamp=0.5,
        layer_clamps=(("L3_36_5", NO_CLAMP),), mapping_lr_multiplier=0.1,
    )  # fmt: skip
    for name, value in (("LAYERS", 8), ("CRITICAL", 1), ("TAPS", 8)):
        monkeypatch.setattr(plan, name, value)
    arrays = random_arrays(config)
    arrays |= {name: np.float32(np.exp(value)) for name, value in arrays.items() if name.endswith("magnitude_ema")}
    given = {
        "z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": RESOLUTION, "img_channels": 3, **SIZES, "num_layers": 8,
        "num_critical": 1, "filter_size": 8, "conv_clamp": 0.5, "mapping_kwargs": {"lr_multiplier": 0.1},
    }  # fmt: skip
    stored = network("Generator", arrays, given, clamps=lambda name: None if name.endswith("L3_36_5") else 0.5)
    G = imported(tmp_path, "G_ema", stored)
    assert G.config == config
    ws = np.random.default_rng(1).normal(size=[1, G.num_ws, 5])
    x = reference.fourier_input(arrays, ws[:, 0], 36, 16, 2.0)
    for index, layer in enumerate(plan.layers(config), start=1):
        x = reference.synthesis_layer(arrays, layer, x, ws[:, index], np.inf if layer.name == "L3_36_5" else 0.5)
    with use_backend("matmul"):
        assert relative_error(nchw(G.synthesis(ws)), 0.25 * x) < TOLERANCE


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_whole_networks_of_16_bits(kind: Any, tmp_path: Path) -> None:
    """Filters are rounded like the weights."""
    config = StyleGAN2Config(8, z_dim=4, w_dim=4, **SIZES, resample_filter=(1, 2, 2))
    arrays = {name: array.astype(kind) for name, array in with_filters(random_arrays(config), (1, 2, 2)).items()}
    given = {"z_dim": 4, "w_dim": 4, "img_resolution": 8, "img_channels": 3, **SIZES, "resample_filter": (1, 2, 2)}
    G = imported(tmp_path, "G_ema", network("Generator", arrays, given, clamps=usual_clamps(256)))
    for name, array in to_arrays(G).items():
        np.testing.assert_array_equal(array, np.float32(arrays[name]), err_msg=name)
    arrays["synthesis.b8.conv0.resample_filter"] = (
        2 * np.float32(arrays["synthesis.b8.conv0.resample_filter"])
    ).astype(kind)
    with pytest.raises(ValueError, match=r"b8.conv0.resample_filter: differs"):
        imported(tmp_path, "G_ema", network("Generator", arrays, given, clamps=usual_clamps(256)))


class Conv2d:
    """Stand-in for a class that is not allowed, with a state."""

    def __init__(self) -> None:
        self.weight = np.ones(3)


class Pipe(dict[str, int]):
    """Stand-in for another one, with items and named arguments."""

    def __new__(cls, **_: Any) -> Pipe:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> Any:
        return (), {"device": "cuda"}


def tiny(**changes: Any) -> Callable[..., Any]:
    """Return a generator of 8 x 8 pixels with constructor arguments given by position."""
    config = StyleGAN2Config(8, z_dim=4, w_dim=4, channel_base=16, channel_max=2, mapping_layers=2)
    arrays = {**random_arrays(config), **changes}
    first = (np.int64(4), 0, np.float64(4.0), 8, 3, EasyDict(num_layers=np.int32(2)), EasyDict(channel_base=16))
    return network(
        "Generator",
        {name: array for name, array in arrays.items() if array is not None},
        {"channel_max": 2.0},
        clamps=usual_clamps(256),
        _init_args=first,
        log_folder=pathlib.PurePosixPath("runs/7"),
    )


@pytest.mark.parametrize("protocol", [2, 4])
def test_foreign_networks_beside_good_ones(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    data = {"path": pathlib.PurePosixPath("/data/faces"), "size": np.int64(7)}
    pipe = Pipe(p=1) if protocol > 3 else Conv2d()  # before, named arguments are pickled as a call of another function
    content = {"D": Conv2d(), "G_ema": tiny(), "augment_pipe": pipe, "training_set_kwargs": data}
    path.write_bytes(dumps(content, protocol))
    with use_backend("matmul"):
        folder = convert_pickle(path, tmp_path / "out", ["G", "D", "G_ema"])
    assert sorted(file.name for file in folder.iterdir()) == ["G_ema.keras", "metadata.json"]
    metadata = (folder / "metadata.json").read_text()
    assert "G is not in the file: it has G_ema" in metadata
    assert f"D refers to '{__name__}.Conv2d', which is not allowed" in metadata
    network = nvidia_pickle.read(path)
    assert network.training_set_options == {"path": "/data/faces", "size": 7}
    assert network.config.z_dim == 4 and network.config.mapping_layers == 2 and network.config.channel_base == 16
    with pytest.raises(UnsupportedNetworkError, match="D refers to"):
        convert_pickle(path, tmp_path / "other", ["D"])
    with pytest.raises(UnsupportedNetworkError, match="none of its networks exists here .G: G is not .*; D: D refers"):
        convert_pickle(path, tmp_path / "other", ["G", "D"])
    path.write_bytes(dumps({"G": tiny(), "G_ema": Conv2d()}, protocol))
    with use_backend("matmul"), pytest.raises(UnsupportedNetworkError, match="G_ema refers to"):
        convert_pickle(path, tmp_path / "other", ["G", "G_ema"], parity=True)
    assert not (tmp_path / "other").exists()


def test_one_generator_as_the_whole_pickle_without_an_average(tmp_path: Path) -> None:
    """The average of w is then estimated, which is as close as the mean of 10,000 samples is."""
    path = tmp_path / "network.pkl"
    path.write_bytes(dumps(tiny(**{"mapping.w_avg": None})))
    network = nvidia_pickle.read(path)
    with use_backend("matmul"):
        G = build_model(network)
        w = G.mapping_network(np.random.default_rng(5).normal(size=[50_000, 4])).numpy()
    # Standard error of the difference of two means of 10,000 and 50,000 samples: 1.1 % of the deviation; five of them.
    np.testing.assert_array_less(np.abs(G.mapping_network.w_avg - w.mean(axis=0)), 0.055 * w.std(axis=0))
    with pytest.raises(UnsupportedNetworkError, match="D is not in the file: it has G_ema"):
        nvidia_pickle.read(path, "D")


def test_a_clamp_that_cannot_be_represented(tmp_path: Path) -> None:
    config = StyleGAN2Config(8, z_dim=4, w_dim=4, **SIZES, architecture="resnet")
    given = {"z_dim": 4, "w_dim": 4, "img_resolution": 8, "img_channels": 3, **SIZES, "architecture": "resnet"}
    for clamps, message in [(lambda name: 256, "conv_clamp=256 of b8.skip"), (lambda name: "x", "conv_clamp='x' of")]:
        with pytest.raises(UnsupportedNetworkError, match=message):
            imported(tmp_path, "G_ema", network("Generator", random_arrays(config), given, clamps=clamps))
