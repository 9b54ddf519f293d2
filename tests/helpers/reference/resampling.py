"""upfirdn2d and filtered_lrelu as literal implementations of their definitions.

Float64, images [N, C, H, W], arguments as in sg3tf.ops. Insert zeros, pad or crop,
convolve with scipy, keep every down-th sample; gradients by the transposed matrices of the linear stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Factor = int | Sequence[int]


def kernel2d(taps: ArrayLike | None, flip_filter: bool = False) -> Array:
    """Return the two-dimensional convolution kernel of `taps`."""
    kernel = np.ones([1, 1]) if taps is None else np.asarray(taps, np.float64)
    if kernel.ndim == 1:
        kernel = np.outer(kernel, kernel)
    return kernel[::-1, ::-1] if flip_filter else kernel


def upfirdn2d(
    x: ArrayLike,
    taps: ArrayLike | None,
    *,
    up: Factor = 1,
    down: Factor = 1,
    pad: Sequence[int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Array:
    x, kernel = np.asarray(x, np.float64), gain * kernel2d(taps, flip_filter)
    (up_y, up_x), (down_y, down_x) = pair(up), pair(down)
    count, channels, height, width = x.shape
    spread = np.zeros([count, channels, height * up_y, width * up_x])
    spread[:, :, ::up_y, ::up_x] = x
    padded = _padded(spread, pad)
    sizes = [padded.shape[2] - kernel.shape[0] + 1, padded.shape[3] - kernel.shape[1] + 1]
    assert min(sizes) > 0, "smaller than the kernel"
    filtered = np.zeros([count, channels, *sizes])
    for index in np.ndindex(count, channels):
        filtered[index] = scipy.signal.convolve(padded[index], kernel, mode="valid", method="direct")
    return filtered[:, :, ::down_y, ::down_x]


def _padded(x: Array, pad: Sequence[int]) -> Array:
    """Pad x with (top, bottom, left, right) zeros; negative numbers crop."""
    top, bottom, left, right = pad
    x = np.pad(x, [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    height, width = x.shape[2:]
    return x[:, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]


def filtered_lrelu(
    x: ArrayLike,
    up_taps: ArrayLike | None,
    down_taps: ArrayLike | None,
    bias: ArrayLike,
    *,
    up: int = 1,
    down: int = 1,
    pad: Sequence[int] = (0, 0, 0, 0),
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Array:
    z = upsampled(x, up_taps, bias, up=up, pad=pad, flip_filter=flip_filter)
    z = np.where(z < 0, slope * z, z) * gain
    bound = math.inf if clamp is None else clamp
    return upfirdn2d(np.clip(z, -bound, bound), down_taps, down=down, flip_filter=flip_filter)


def upsampled(
    x: ArrayLike, up_taps: ArrayLike | None, bias: ArrayLike, *, up: int, pad: Sequence[int], flip_filter: bool
) -> Array:
    """Return the input of the leaky ReLU in filtered_lrelu."""
    biased = np.asarray(x, np.float64) + np.asarray(bias, np.float64)[:, None, None]
    return upfirdn2d(biased, up_taps, up=up, pad=pad, flip_filter=flip_filter, gain=up**2)


class FilteredLrelu:
    """The linear stages of one filtered_lrelu as matrices, for its derivatives; keep the images small.

    y = D act(U (x + bias)), so that gx = U' (act' * (D' gy)), and the gradient of <gx, v> with respect to gy is
    D (act' * (U v)): act' is constant almost everywhere.
    """

    def __init__(
        self, shape: Sequence[int], up_taps: ArrayLike | None, down_taps: ArrayLike | None, **options: Any
    ) -> None:
        self.options = {
            "up": 1, "down": 1, "pad": (0, 0, 0, 0), "gain": math.sqrt(2), "slope": 0.2, "clamp": None,
            "flip_filter": False, **options,
        }  # fmt: skip
        o = self.options
        flip = {"flip_filter": o["flip_filter"]}
        self.up, middle = matrix(
            lambda x: upfirdn2d(x, up_taps, up=o["up"], pad=o["pad"], gain=o["up"] ** 2, **flip), shape
        )
        self.down, self.out_shape = matrix(lambda x: upfirdn2d(x, down_taps, down=o["down"], **flip), middle)
        self.in_shape = tuple(shape)

    def pre_activation(self, x: ArrayLike, bias: ArrayLike) -> Array:
        """Return the input of the leaky ReLU, [N, C, samples]."""
        return rows(np.asarray(x, np.float64) + np.asarray(bias, np.float64)[:, None, None]) @ self.up.T

    def slopes(self, x: ArrayLike, bias: ArrayLike) -> Array:
        """act' at every upsampled sample, with the gain: 0 where clamped."""
        z = self.pre_activation(x, bias)
        slope = np.where(z < 0, self.options["slope"], 1.0) * self.options["gain"]
        clamp = self.options["clamp"]
        return slope if clamp is None else np.where(np.abs(slope * z) < clamp, slope, 0.0)

    def distance_to_kink(self, x: ArrayLike, bias: ArrayLike) -> Array:
        """Return the distance of every upsampled sample from the nearest kink of the activation."""
        z, clamp = self.pre_activation(x, bias), self.options["clamp"]
        if clamp is None:
            return np.abs(z)
        slope = np.where(z < 0, self.options["slope"], 1.0) * self.options["gain"]
        return np.minimum(np.abs(z), np.abs(np.abs(slope * z) - clamp) / self.options["gain"])

    def cotangent(self, slopes: Array, gy: ArrayLike) -> Array:
        """Return the gradient of x for the gradient gy of the result."""
        gx = (slopes * (rows(gy) @ self.down)) @ self.up
        return gx.reshape(*gx.shape[:2], *self.in_shape)

    def tangent(self, slopes: Array, v: ArrayLike) -> Array:
        """Return the change of the result for the change v of x."""
        y = (slopes * (rows(v) @ self.up.T)) @ self.down.T
        return y.reshape(*y.shape[:2], *self.out_shape)


def matrix(operation: Callable[[Array], Array], shape: Sequence[int]) -> tuple[Array, tuple[int, int]]:
    """Return the matrix [out, in] of a linear map of planes of `shape`, and the shape of its results."""
    height, width = shape
    columns = operation(np.eye(height * width).reshape(height * width, 1, height, width))
    return rows(columns)[:, 0].T, (columns.shape[2], columns.shape[3])


def rows(x: ArrayLike) -> Array:
    """[N, C, H, W] -> [N, C, H * W]"""
    x = np.asarray(x, np.float64)
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


def pair(value: Factor) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
