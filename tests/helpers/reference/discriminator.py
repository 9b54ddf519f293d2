"""Forward pass of the discriminator in float64, under the official parameter names and layouts.

Written from DESIGN.md, section 3, and the StyleGAN2 papers (arXiv 1912.04958, 2006.06676).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf.models.configs import DiscriminatorConfig
from tests.helpers.reference.generator import Arrays, correlate, dense, lrelu, mapping
from tests.helpers.reference.resampling import upfirdn2d

Array = NDArray[np.float64]
FIR = np.array([1, 3, 3, 1]) / 8


def discriminator(
    arrays: Arrays, config: DiscriminatorConfig, images: ArrayLike, label: ArrayLike | None = None
) -> Array:
    """Return logits [N, 1] of images [N, C, R, R]."""
    x = conv(arrays, f"b{config.resolution}.fromrgb", np.asarray(images, np.float64), clamp=config.conv_clamp)
    resolution = config.resolution
    while resolution > 4:
        x = block(arrays, f"b{resolution}", x, config)
        resolution //= 2
    x = minibatch_stddev(x, config.mbstd_group_size, config.mbstd_channels)
    x = conv(arrays, "b4.conv", x, clamp=config.conv_clamp)
    x = lrelu(dense(arrays, "b4.fc", x.reshape(len(x), -1))) * math.sqrt(2)
    x = dense(arrays, "b4.out", x)
    if label is None:
        return x
    target = mapping(arrays, None, label, config.mapping_layers)
    return np.sum(x * target, axis=1, keepdims=True) / math.sqrt(target.shape[1])


def block(arrays: Arrays, name: str, x: Array, config: DiscriminatorConfig) -> Array:
    y = conv(arrays, f"{name}.conv0", x, clamp=config.conv_clamp)
    y = conv(arrays, f"{name}.conv1", y, down=2, clamp=config.conv_clamp)
    if not config.residual:
        return y
    return math.sqrt(0.5) * (conv(arrays, f"{name}.skip", x, down=2, linear=True) + y)


def conv(arrays: Arrays, name: str, x: Array, down: int = 1, linear: bool = False, clamp: float = math.inf) -> Array:
    """Scaled by 1 / sqrt(fan in), as large as its input before downsampling.

    Downsampling keeps the samples that lie in the middle between two input pixels, where [1, 3, 3, 1] is centered:
    one pixel of padding on either side.
    """
    weight = np.asarray(arrays[f"{name}.weight"], np.float64)
    weight = weight / math.sqrt(weight[0].size)
    edge = weight.shape[2] // 2
    pad = (edge + 1,) * 4 if down == 2 else (edge,) * 4
    x = upfirdn2d(x, FIR if down == 2 else None, pad=pad)
    y = np.array([correlate(image, weight, "valid") for image in x])[:, :, ::down, ::down]
    if f"{name}.bias" in arrays:
        y = y + np.asarray(arrays[f"{name}.bias"], np.float64)[:, None, None]
    return np.clip(y if linear else lrelu(y) * math.sqrt(2), -clamp, clamp)


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
