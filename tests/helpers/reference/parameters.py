"""Random parameters under the official names, shaped by the formulas of plan.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sg3tf.models.configs import DiscriminatorConfig, GeneratorConfig
from sg3tf.utils.resolution import size_of
from tests.helpers.reference import plan

FloatArray = NDArray[np.float32]
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def generator_arrays(config: GeneratorConfig) -> dict[str, FloatArray]:
    arrays = _draw(_generator_shapes(config))
    for name in arrays:
        if name.endswith("magnitude_ema"):
            arrays[name] = np.asarray(np.exp(0.3 * arrays[name]))  # a mean square is positive
        elif name.startswith("synthesis.L") and name.endswith("affine.bias"):
            arrays[name] += 1
    arrays["synthesis.input.transform"] = np.eye(3, dtype=np.float32)
    arrays["synthesis.input.affine.bias"] = np.array([0.9, 0.3, 0.1, -0.2], np.float32)
    return arrays


def discriminator_arrays(config: DiscriminatorConfig) -> dict[str, FloatArray]:
    return _draw(_discriminator_shapes(config))


def _draw(shapes: Shapes) -> dict[str, FloatArray]:
    rng = np.random.RandomState(0)
    arrays = {}
    for name, shape in shapes:
        scale = 0.3 if name.endswith(".bias") else 1.0
        if name.startswith("mapping.fc"):
            scale /= 0.01  # undone by the learning rate multiplier
        arrays[name] = np.asarray(scale * rng.standard_normal(shape), np.float32)
    return arrays


def _dense(name: str, fan_in: int, units: int) -> Shapes:
    yield f"{name}.weight", (units, fan_in)
    yield f"{name}.bias", (units,)


def _mapping(z_dim: int, label_dim: int, w_dim: int, num_layers: int) -> Shapes:
    features = z_dim
    if label_dim:
        yield from _dense("mapping.embed", label_dim, w_dim)
        features += w_dim
    for index in range(num_layers):
        yield from _dense(f"mapping.fc{index}", features, w_dim)
        features = w_dim


def _generator_shapes(config: GeneratorConfig) -> Shapes:
    layers = plan.layers(config)
    waves = layers[0].in_channels
    yield "mapping.w_avg", (config.w_dim,)
    yield from _mapping(config.z_dim, config.label_dim, config.w_dim, config.mapping_layers)
    yield "synthesis.input.weight", (waves, waves)
    yield "synthesis.input.freqs", (waves, 2)
    yield "synthesis.input.phases", (waves,)
    yield "synthesis.input.transform", (3, 3)
    yield from _dense("synthesis.input.affine", config.w_dim, 4)
    for layer in layers:
        prefix = f"synthesis.{layer.name}"
        yield f"{prefix}.weight", (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        yield f"{prefix}.bias", (layer.out_channels,)
        yield f"{prefix}.magnitude_ema", ()
        yield from _dense(f"{prefix}.affine", config.w_dim, layer.in_channels)


def _discriminator_shapes(config: DiscriminatorConfig) -> Shapes:
    def channels(resolution: int) -> int:
        return min(config.channel_base // resolution, config.channel_max)

    width, height = size_of(config.resolution)
    least = 4 if width == height else 3  # pixels of the last grid
    resolution = max(width, height)
    yield f"b{resolution}.fromrgb.weight", (channels(resolution), config.image_channels, 1, 1)
    yield f"b{resolution}.fromrgb.bias", (channels(resolution),)
    while width % 2 == height % 2 == 0 and min(width, height) >= 2 * least:
        before, after = channels(resolution), channels(resolution // 2)
        yield f"b{resolution}.conv0.weight", (before, before, 3, 3)
        yield f"b{resolution}.conv0.bias", (before,)
        yield f"b{resolution}.conv1.weight", (after, before, 3, 3)
        yield f"b{resolution}.conv1.bias", (after,)
        if config.architecture == "resnet":
            yield f"b{resolution}.skip.weight", (after, before, 1, 1)
        resolution, width, height = resolution // 2, width // 2, height // 2
    last, name = channels(resolution), f"b{resolution}"
    yield f"{name}.conv.weight", (last, last + config.mbstd_channels, 3, 3)
    yield f"{name}.conv.bias", (last,)
    yield from _dense(f"{name}.fc", last * width * height, last)
    yield from _dense(f"{name}.out", last, last if config.label_dim else 1)
    if config.label_dim:
        yield from _mapping(0, config.label_dim, last, config.mapping_layers)
