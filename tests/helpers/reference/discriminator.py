"""Forward pass of the discriminator in float64, under the official parameter names and layouts.

Written from the StyleGAN2 papers (arXiv 1912.04958, 2006.06676).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf.models.configs import DiscriminatorConfig
from tests.helpers.reference.generator import Arrays, correlate, dense, mapping
from tests.helpers.reference.resampling import upfirdn2d
from tests.helpers.reference.stylegan2 import ACTIVATIONS

Array = NDArray[np.float64]


def discriminator(
    arrays: Arrays, config: DiscriminatorConfig, images: ArrayLike, label: ArrayLike | None = None
) -> Array:
    """Return logits [N, 1] of images [N, C, H, W]."""
    image = np.asarray(images, np.float64)
    resolution = max(image.shape[2:])
    blocks, last = ACTIVATIONS[config.activation], ACTIVATIONS[config.last_activation]
    x = conv(arrays, f"b{resolution}.fromrgb", image, activation=blocks, clamp=config.conv_clamp)
    while f"b{resolution}.conv0.weight" in arrays:
        x = block(arrays, f"b{resolution}", x, config)
        resolution //= 2
        if config.architecture == "skip":
            taps = np.asarray(config.resample_filter, np.float64) / np.sum(config.resample_filter)
            before, after = (len(taps) - 1) // 2, (len(taps) - 2) // 2
            image = upfirdn2d(image, taps, down=2, pad=(before, after, before, after))
            is_last = f"b{resolution}.conv0.weight" not in arrays
            clamp = math.inf if is_last else config.conv_clamp
            x = x + conv(arrays, f"b{resolution}.fromrgb", image, activation=last if is_last else blocks, clamp=clamp)
    if config.mbstd_channels:
        x = minibatch_stddev(x, config.mbstd_group_size, config.mbstd_channels)
    name = f"b{resolution}"
    x = conv(arrays, f"{name}.conv", x, activation=last, clamp=clamp_of(config, f"{name}.conv"))
    x = last(dense(arrays, f"{name}.fc", x.reshape(len(x), -1)))
    x = dense(arrays, f"{name}.out", x)
    if label is None:
        return x
    is_linear = config.mapping_activation == "linear"
    target = mapping(arrays, None, label, config.mapping_layers, config.mapping_lr_multiplier, is_linear)
    return np.sum(x * target, axis=1, keepdims=True) / math.sqrt(target.shape[1])


def block(arrays: Arrays, name: str, x: Array, config: DiscriminatorConfig) -> Array:
    activation, taps = ACTIVATIONS[config.activation], config.resample_filter
    y = conv(arrays, f"{name}.conv0", x, activation=activation, clamp=clamp_of(config, f"{name}.conv0"))
    y = conv(arrays, f"{name}.conv1", y, 2, activation, clamp_of(config, f"{name}.conv1"), taps)
    if config.architecture != "resnet":
        return y
    return math.sqrt(0.5) * (conv(arrays, f"{name}.skip", x, 2, ACTIVATIONS["linear"], taps=taps) + y)


def clamp_of(config: DiscriminatorConfig, layer: str) -> float:
    return next((bound for name, bound in config.layer_clamps if name == layer), config.conv_clamp)


def conv(
    arrays: Arrays,
    name: str,
    x: Array,
    down: int = 1,
    activation: Callable[[Array], Array] = ACTIVATIONS["lrelu"],
    clamp: float = math.inf,
    taps: ArrayLike = (1, 3, 3, 1),
) -> Array:
    """Scaled by 1 / sqrt(fan in), as large as its input before downsampling.

    Downsampling keeps the samples that lie in the middle between two input pixels, where [1, 3, 3, 1] is centered:
    one pixel of padding on either side.
    """
    taps = np.asarray(taps, np.float64) / np.sum(taps)
    before, after = (len(taps) - 1) // 2, (len(taps) - 2) // 2
    weight = np.asarray(arrays[f"{name}.weight"], np.float64)
    weight = weight / math.sqrt(weight[0].size)
    edge = weight.shape[2] // 2
    pad = (edge + before, edge + after) * 2 if down == 2 else (edge,) * 4
    x = upfirdn2d(x, taps if down == 2 else None, pad=pad)
    y = np.array([correlate(image, weight, "valid") for image in x])[:, :, ::down, ::down]
    if f"{name}.bias" in arrays:
        y = y + np.asarray(arrays[f"{name}.bias"], np.float64)[:, None, None]
    return np.clip(activation(y), -clamp, clamp)


def minibatch_stddev(x: Array, group_size: int, num_channels: int) -> Array:
    """Image n belongs to group n mod (N / group size)."""
    count = len(x)
    groups = count // min(group_size, count)
    extra = np.zeros([count, num_channels, *x.shape[2:]])
    for group in range(groups):
        members = x[group::groups]
        deviation = np.sqrt(np.mean((members - members.mean(axis=0)) ** 2, axis=0) + 1e-8)
        for channel, share in enumerate(np.split(deviation, num_channels)):
            extra[group::groups, channel] = share.mean()
    return np.concatenate([x, extra], axis=1)
