"""The first StyleGAN's generator in float64, under the names and layouts of its arrays for TensorFlow 1.

Written from its paper (arXiv 1812.04958). Images are [N, C, H, W].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.float32]]


def generator(arrays: Arrays, z: ArrayLike, resolution: int, layers: int) -> Array:
    """Return images with the noise among the arrays."""
    w = mapping(arrays, z, layers)
    x = np.repeat(_get(arrays, "synthesis/4x4/Const/const"), len(w), axis=0)
    x = epilogue(arrays, "4x4/Const", 0, x, w)
    x = epilogue(arrays, "4x4/Conv", 1, correlate(x, _kernel(arrays, "4x4/Conv")), w)
    side, index = 8, 2
    while side <= resolution:
        kernel = _kernel(arrays, f"{side}x{side}/Conv0_up")
        up = spread(x, kernel) if side >= 128 else correlate(x.repeat(2, axis=2).repeat(2, axis=3), kernel)
        x = epilogue(arrays, f"{side}x{side}/Conv0_up", index, blur(up), w)
        x = epilogue(
            arrays, f"{side}x{side}/Conv1", index + 1, correlate(x, _kernel(arrays, f"{side}x{side}/Conv1")), w
        )
        side, index = 2 * side, index + 2
    weight, bias = _get(arrays, "synthesis/ToRGB_lod0/weight")[0, 0], _get(arrays, "synthesis/ToRGB_lod0/bias")
    return np.einsum("nihw,io->nohw", x, weight / math.sqrt(len(weight))) + bias[:, None, None]


def mapping(arrays: Arrays, z: ArrayLike, layers: int) -> Array:
    w = np.asarray(z, np.float64)
    w = w / np.sqrt(np.mean(w**2, axis=1, keepdims=True) + 1e-8)
    for index in range(layers):
        weight, bias = _get(arrays, f"mapping/Dense{index}/weight"), _get(arrays, f"mapping/Dense{index}/bias")
        w = leaky(w @ weight * (0.01 * math.sqrt(2 / len(weight))) + 0.01 * bias)
    return w


def epilogue(arrays: Arrays, name: str, index: int, x: Array, w: Array) -> Array:
    """Noise, bias, leaky ReLU, AdaIN."""
    name = f"synthesis/{name}"
    x = x + _get(arrays, f"synthesis/noise{index}") * _get(arrays, f"{name}/Noise/weight")[:, None, None]
    x = leaky(x + _get(arrays, f"{name}/bias")[:, None, None])
    weight = _get(arrays, f"{name}/StyleMod/weight")
    style = w @ weight / math.sqrt(len(weight)) + _get(arrays, f"{name}/StyleMod/bias")
    scale, shift = style.reshape(len(w), 2, -1).transpose(1, 0, 2)[..., None, None]
    deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True) + 1e-8)
    return (x - x.mean(axis=(2, 3), keepdims=True)) / deviation * (scale + 1) + shift


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def correlate(x: Array, kernel: Array) -> Array:
    """Correlate x, padded with zeros, with a kernel [3, 3, in, out]."""
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    height, width = x.shape[2:]
    views = [[padded[:, :, i : i + height, j : j + width] for j in range(3)] for i in range(3)]
    return np.einsum("ijnchw,ijco->nohw", np.array(views), kernel)


def spread(x: Array, kernel: Array) -> Array:
    """Transposed convolution with a 4 x 4 kernel, the sum of four shifted kernels of 3 x 3."""
    wide = np.pad(kernel, [(1, 1), (1, 1), (0, 0), (0, 0)])
    wide = wide[1:, 1:] + wide[:-1, 1:] + wide[1:, :-1] + wide[:-1, :-1]
    height, width = x.shape[2:]
    y = np.zeros([len(x), kernel.shape[3], 2 * height + 2, 2 * width + 2])
    for i in range(4):
        for j in range(4):
            y[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += np.einsum("nchw,co->nohw", x, wide[i, j])
    return y[:, :, 1:-1, 1:-1]


def blur(x: Array) -> Array:
    """Blur with [1, 2, 1] / 4 along both axes, with zero padding."""
    for axis in (2, 3):
        padded = np.pad(x, [(0, 0)] * axis + [(1, 1)] + [(0, 0)] * (3 - axis))
        size = x.shape[axis]
        left, middle, right = (np.take(padded, np.arange(size) + k, axis) for k in range(3))
        x = (left + 2 * middle + right) / 4
    return x


def _get(arrays: Arrays, name: str) -> Array:
    return np.asarray(arrays[name], np.float64)


def _kernel(arrays: Arrays, name: str) -> Array:
    kernel = _get(arrays, f"synthesis/{name}/weight")
    return kernel * math.sqrt(2 / math.prod(kernel.shape[:3]))
