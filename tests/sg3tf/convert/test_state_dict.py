"""StyleGAN2 in PyTorch state dicts: outputs of a float64 implementation that is written here, under their names."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from sg3tf.convert import nvidia_pickle, to_state_dict, torch_file
from sg3tf.convert.from_pickle import build_model
from sg3tf.convert.official_network import NO_CLAMP, UnsupportedNetworkError
from sg3tf.convert.state_dict import from_arrays
from sg3tf.convert.weights import ParameterMismatchError
from sg3tf.models.configs import GeneratorConfig, StyleGAN2Config
from sg3tf.ops import use_backend
from tests.helpers import torch_writer
from tests.helpers.numerics import Array, nchw, nhwc, relative_error

W_DIM, LAYERS, RESOLUTION = 6, 3, 16
CHANNELS = {4: 5, 8: 5, 16: 4}
FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
TOLERANCE = 1e-5  # some ten layers of float32, rounded to 6e-8 each


def generator_tensors(grid: tuple[int, int] = (4, 4)) -> dict[str, Array]:
    """Parameters of networks for images whose sides are four times those of `grid` (height, width)."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {"input.input": rng.normal(size=[1, 5, *grid])}
    for index in range(1, LAYERS + 1):
        tensors[f"style.{index}.weight"] = 100 * rng.normal(size=[W_DIM, W_DIM])
        tensors[f"style.{index}.bias"] = 30 * rng.normal(size=[W_DIM])
    layers = [
        ("conv1", 4, 4, 0),
        ("convs.0", 4, 8, 1),
        ("convs.1", 8, 8, 2),
        ("convs.2", 8, 16, 3),
        ("convs.3", 16, 16, 4),
    ]
    for name, before, side, noise in layers:
        tensors |= modulated(name, CHANNELS[before], CHANNELS[side], 3, rng)
        tensors[f"{name}.noise.weight"] = rng.normal(size=[1])
        tensors[f"{name}.activate.bias"] = rng.normal(size=[CHANNELS[side]])
        tensors[f"noises.noise_{noise}"] = rng.normal(size=[1, 1, *(side // 4 * first for first in grid)])
        if before != side:
            tensors[f"{name}.conv.blur.kernel"] = 4 * FIR
    for name, side in [("to_rgb1", 4), ("to_rgbs.0", 8), ("to_rgbs.1", 16)]:
        tensors |= modulated(name, CHANNELS[side], 3, 1, rng)
        tensors[f"{name}.bias"] = rng.normal(size=[1, 3, 1, 1])
        if side > 4:
            tensors[f"{name}.upsample.kernel"] = 4 * FIR
    return {name: np.float32(value) for name, value in tensors.items()}


def modulated(name: str, fan_in: int, units: int, size: int, rng: np.random.Generator) -> dict[str, Array]:
    return {
        f"{name}.conv.weight": rng.normal(size=[1, units, fan_in, size, size]),
        f"{name}.conv.modulation.weight": rng.normal(size=[fan_in, W_DIM]),
        f"{name}.conv.modulation.bias": 1 + rng.normal(size=[fan_in]),
    }


def discriminator_tensors(grid: tuple[int, int] = (4, 4)) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {"convs.0.0.weight": (4, 3, 1, 1), "convs.0.1.bias": (4,)}
    for index, (before, after) in enumerate([(4, 5), (5, 5)], start=1):
        name = f"convs.{index}"
        shapes |= {f"{name}.conv1.0.weight": (before, before, 3, 3), f"{name}.conv1.1.bias": (before,)}
        shapes |= {f"{name}.conv2.1.weight": (after, before, 3, 3), f"{name}.conv2.2.bias": (after,)}
        shapes |= {f"{name}.skip.1.weight": (after, before, 1, 1)}
    shapes |= {"final_conv.0.weight": (5, 6, 3, 3), "final_conv.1.bias": (5,)}
    shapes |= {"final_linear.0.weight": (5, 5 * math.prod(grid)), "final_linear.0.bias": (5,)}
    shapes |= {"final_linear.1.weight": (1, 5), "final_linear.1.bias": (1,)}
    tensors = {name: np.float32(rng.normal(size=shape)) for name, shape in shapes.items()}
    filters = [f"convs.{i}.{layer}.0.kernel" for i in (1, 2) for layer in ("conv2", "skip")]
    return tensors | dict.fromkeys(filters, np.float32(FIR))


def activated(x: Array) -> Array:
    return np.where(x < 0, 0.2 * x, x) * math.sqrt(2)


def linear(t: dict[str, Array], name: str, x: Array, multiplier: float = 1.0) -> Array:
    weight = np.float64(t[f"{name}.weight"])
    return x @ weight.T * (multiplier / math.sqrt(weight.shape[1])) + multiplier * np.float64(t[f"{name}.bias"])


def styles(t: dict[str, Array], z: Array) -> Array:
    w = z / np.sqrt(np.mean(z**2, axis=1, keepdims=True) + 1e-8)
    for index in range(1, LAYERS + 1):
        w = activated(linear(t, f"style.{index}", w, 0.01))
    return w


def filtered_up(image: Array) -> Array:
    """Spread the pixels, filter, and keep the middle: 2 pixels before and 1 after are lost by padding as much."""
    spread = np.zeros([2 * side for side in image.shape])
    spread[::2, ::2] = image
    return convolve2d(np.pad(spread, [(2, 1), (2, 1)]), 4 * FIR, "valid")


def synthesis_layer(t: dict[str, Array], name: str, x: Array, w: Array, noise: str, up: bool) -> Array:
    weight = np.float64(t[f"{name}.conv.weight"])[0] * linear(t, f"{name}.conv.modulation", w)[:, None, None]
    weight = weight / np.sqrt(np.sum(weight**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
    planes = []
    for out in weight:
        if up:  # a transposed convolution: every pixel spreads the kernel, and then the filter
            total = np.zeros([2 * side + 1 for side in x.shape[1:]])
            for plane, taps in zip(x, out, strict=True):
                for row, column in np.ndindex(plane.shape):
                    total[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += plane[row, column] * taps
            planes.append(convolve2d(np.pad(total, 1), 4 * FIR, "valid"))
        else:
            planes.append(sum(correlate2d(plane, taps, "same") for plane, taps in zip(x, out, strict=True)))
    y = np.array(planes) + float(t[f"{name}.noise.weight"][0]) * np.float64(t[noise])[0, 0]
    return activated(y + np.float64(t[f"{name}.activate.bias"])[:, None, None])


def to_rgb(t: dict[str, Array], name: str, x: Array, w: Array) -> Array:
    style = linear(t, f"{name}.conv.modulation", w)
    weight = np.float64(t[f"{name}.conv.weight"])[0, :, :, 0, 0] * style / math.sqrt(len(style))
    return np.tensordot(weight, x, 1) + np.float64(t[f"{name}.bias"])[0]


def image_of(t: dict[str, Array], w: Array) -> Array:
    x = synthesis_layer(t, "conv1", np.float64(t["input.input"])[0], w, "noises.noise_0", up=False)
    image = to_rgb(t, "to_rgb1", x, w)
    for block in range(2):
        for conv in range(2):
            index = 2 * block + conv
            x = synthesis_layer(t, f"convs.{index}", x, w, f"noises.noise_{index + 1}", up=conv == 0)
        image = np.array([filtered_up(plane) for plane in image]) + to_rgb(t, f"to_rgbs.{block}", x, w)
    return image


def convolved(x: Array, weight: Array, down: bool) -> Array:
    """x [C, H, W]"""
    size = weight.shape[2]
    weight = np.float64(weight) / math.sqrt(weight[0].size)
    if down:
        pad = size // 2 + 1
        x = np.array([convolve2d(np.pad(plane, pad), FIR, "valid") for plane in x])
    mode = "valid" if down else "same"
    y = np.array([sum(correlate2d(p, k, mode) for p, k in zip(x, out, strict=True)) for out in weight])
    return y[:, ::2, ::2] if down else y


def logits_of(t: dict[str, Array], images: Array) -> Array:
    def biased(y: Array, name: str) -> Array:
        return activated(y + np.float64(t[name])[:, None, None])

    features = []
    for image in images:
        x = biased(convolved(image, t["convs.0.0.weight"], down=False), "convs.0.1.bias")
        for index in (1, 2):
            name = f"convs.{index}"
            y = biased(convolved(x, t[f"{name}.conv1.0.weight"], down=False), f"{name}.conv1.1.bias")
            y = biased(convolved(y, t[f"{name}.conv2.1.weight"], down=True), f"{name}.conv2.2.bias")
            x = (y + convolved(x, t[f"{name}.skip.1.weight"], down=True)) / math.sqrt(2)
        features.append(x)
    deviation = np.mean(np.sqrt(np.var(features, axis=0) + 1e-8))  # one group
    last = [np.concatenate([x, np.full([1, *x.shape[1:]], deviation)]) for x in features]
    last = [biased(convolved(x, t["final_conv.0.weight"], down=False), "final_conv.1.bias") for x in last]
    return linear(t, "final_linear.1", activated(linear(t, "final_linear.0", np.array(last).reshape(len(last), -1))))


def write(path: Path, parts: dict[str, Any], **others: Any) -> Path:
    """Write a file of torch.save: dicts of tensors, single tensors, and other values."""
    storages: dict[str, Array] = {}

    def tensor(array: Array) -> Any:
        key = str(len(storages))
        storages[key] = np.ascontiguousarray(array).reshape(-1)
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        return torch_writer.tensor(key, torch_writer.STORAGES[array.dtype.name], array.size, 0, array.shape, strides)

    content = {
        name: tensor(part)
        if isinstance(part, np.ndarray)
        else torch_writer.ordered({k: tensor(v) for k, v in part.items()})
        for name, part in parts.items()
    }
    path.write_bytes(torch_writer.zipped({**content, **others}, storages))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_plain_pickles_of_arrays(tmp_path: Path, protocol: int) -> None:
    """The same networks as from torch.save, also where they are a part of another model."""
    parts = {"g_ema": generator_tensors(), "d": discriminator_tensors(), "latent_avg": np.ones(W_DIM, np.float32)}
    inside = {"state_dict": {f"decoder.{name}": array for name, array in parts["g_ema"].items()}}
    plain, whole = tmp_path / "plain.pkl", write(tmp_path / "torch.pt", parts)
    for content, names in ((parts, ("G_ema", "D")), ({**inside, "latent_avg": parts["latent_avg"]}, ("G_ema",))):
        plain.write_bytes(pickle.dumps(content, protocol))
        for name in names:
            found, expected = (nvidia_pickle.read(path, name) for path in (plain, whole))
            assert found.config == expected.config
            assert found.arrays.keys() == expected.arrays.keys()
            for key, array in found.arrays.items():
                np.testing.assert_array_equal(array, expected.arrays[key])


def test_every_network_of_a_file(tmp_path: Path) -> None:
    G_ema, D, average = generator_tensors(), discriminator_tensors(), np.linspace(-1, 1, W_DIM, dtype=np.float32)
    g = {name: np.float32(1.1 * array) if "kernel" not in name else array for name, array in G_ema.items()}
    arguments = torch_writer.Call("argparse.Namespace", ())  # foreign, and skipped
    path = write(tmp_path / "550000.pt", {"g_ema": G_ema, "g": g, "d": D, "latent_avg": average}, args=arguments)
    networks = {name: nvidia_pickle.read(path, name) for name in ("G", "D", "G_ema")}
    assert networks["G_ema"].config == StyleGAN2Config(
        16, z_dim=6, w_dim=6, mapping_layers=3, channel_base=64, channel_max=5, conv_clamp=NO_CLAMP
    )
    z = np.random.default_rng(2).normal(size=[2, W_DIM])
    with use_backend("matmul"):
        for name, tensors in (("G_ema", G_ema), ("G", g)):
            G = build_model(networks[name])
            w = styles(tensors, z)
            assert relative_error(nchw(G(z)), np.array([image_of(tensors, each) for each in w])) < TOLERANCE
            truncated = average + 0.5 * (w - average)
            assert relative_error(G.mapping(z, truncation_psi=0.5)[:, 0], truncated) < TOLERANCE
        images = np.random.default_rng(3).normal(size=[3, 3, 16, 16])
        logits = build_model(networks["D"])(np.float32(nhwc(images)))
    assert relative_error(logits, logits_of(D, images)) < TOLERANCE


@pytest.mark.parametrize("grid", [(3, 5), (5, 4)])
def test_pictures_that_are_not_square(tmp_path: Path, grid: tuple[int, int]) -> None:
    """As forks store them: the constant has the shape of the picture, and is doubled as often as of a square."""
    content = {"g_ema": generator_tensors(grid), "d": discriminator_tensors(grid)}
    path = write(tmp_path / "first.pt", content)
    G, D = (build_model(nvidia_pickle.read(path, name)) for name in ("G_ema", "D"))
    height, width = (4 * side for side in grid)
    assert G.config.resolution == D.config.resolution == (width, height)
    z, images = (np.random.default_rng(2).normal(size=shape) for shape in ([1, W_DIM], [2, 3, height, width]))
    to_state_dict.save(G, tmp_path / "second.pt", D)
    with use_backend("matmul"):
        for tensors in (content, torch_file.read(tmp_path / "second.pt")):
            expected = image_of(tensors["g_ema"], styles(tensors["g_ema"], z)[0])
            assert relative_error(nchw(G(z))[0], expected) < TOLERANCE
            assert relative_error(D(np.float32(nhwc(images))), logits_of(tensors["d"], images)) < TOLERANCE
    with pytest.raises(UnsupportedNetworkError, match="the last grid of D is not 4x4; .* give a file with their G"):
        nvidia_pickle.read(write(tmp_path / "d.pt", {"d": content["d"]}), "D")
    with pytest.raises(UnsupportedNetworkError, match="input.input is 8 x 2 pixels: images of 32x8 begin at 16x4 here"):
        nvidia_pickle.read(write(tmp_path / "g.pt", {"g_ema": generator_tensors((2, 8))}))


def test_a_decoder_without_noise_images_and_average(tmp_path: Path) -> None:
    tensors = {name: array for name, array in generator_tensors().items() if "noises" not in name}
    state = {f"decoder.{name}": array for name, array in tensors.items()} | {"encoder.x": np.ones(1, np.float32)}
    average = np.tile(np.arange(W_DIM, dtype=np.float32), [8, 1])
    network = nvidia_pickle.read(write(tmp_path / "psp.pt", {"state_dict": state, "latent_avg": average}))
    np.testing.assert_array_equal(network.arrays["mapping.w_avg"], average[0])
    assert network.arrays["synthesis.b16.conv1.noise_const"].std() > 0.5
    build_model(network)
    with pytest.raises(UnsupportedNetworkError, match=r"latent_avg of shape \(8, 6\): only one vector of 6"):
        average[0] += 1
        nvidia_pickle.read(write(tmp_path / "psp.pt", {"state_dict": state, "latent_avg": average}))


def test_other_networks_are_refused_by_name(tmp_path: Path) -> None:
    def read(name: str = "G_ema", **changes: Array) -> Any:
        parts = {"g_ema": {**generator_tensors(), **changes}}
        return nvidia_pickle.read(write(tmp_path / "network.pt", parts), name)

    with pytest.raises(UnsupportedNetworkError, match="D is not in the file: it has G_ema"):
        read("D")
    one = np.ones(1, np.float32)
    with pytest.raises(UnsupportedNetworkError, match="attention.weight: unknown tensor"):
        read(**{"attention.weight": one})
    with pytest.raises(UnsupportedNetworkError, match=r"to_rgbs.0.upsample.kernel: only the filter"):
        read(**{"to_rgbs.0.upsample.kernel": np.float32(FIR)})
    with pytest.raises(UnsupportedNetworkError, match=r"input.input is \(1,\): not a StyleGAN2 network"):
        read(**{"input.input": one})
    with pytest.raises(ParameterMismatchError, match=r"synthesis.b8.conv0.bias: shape \(1,\) does not fit"):
        build_model(read(**{"convs.0.activate.bias": one}))


def test_written_files(tmp_path: Path) -> None:
    """A generator and a discriminator of the library compute what the implementation above does with their file."""
    path = write(tmp_path / "first.pt", {"g_ema": generator_tensors(), "d": discriminator_tensors()})
    G, D = (build_model(nvidia_pickle.read(path, name)) for name in ("G_ema", "D"))
    to_state_dict.save(G, tmp_path / "second.pt", D)
    content = torch_file.read(tmp_path / "second.pt")
    z, images = np.random.default_rng(2).normal(size=[1, W_DIM]), np.random.default_rng(3).normal(size=[2, 3, 16, 16])
    with use_backend("matmul"):
        expected = image_of(content["g_ema"], styles(content["g_ema"], z)[0])
        assert relative_error(nchw(G(z))[0], expected) < TOLERANCE
        assert relative_error(D(np.float32(nhwc(images))), logits_of(content["d"], images)) < TOLERANCE
    np.testing.assert_array_equal(content["latent_avg"], G.mapping_network.w_avg)
    for part in ("g_ema", "d"):
        before = torch_file.read(path)[part]
        assert {name: array.shape for name, array in content[part].items()} == {k: v.shape for k, v in before.items()}
    with pytest.raises(UnsupportedNetworkError, match="label_dim=2: state dicts have only 0; write it with .* to-npz"):
        from_arrays(StyleGAN2Config(16, channel_base=64, label_dim=2), {})
    with pytest.raises(
        UnsupportedNetworkError, match="a GeneratorConfig: state dicts hold .*; write it with .* to-npz"
    ):
        from_arrays(GeneratorConfig(16), {})  # type: ignore[arg-type]
