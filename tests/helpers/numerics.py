"""Random numbers, comparisons, and the two image layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import tensorflow as tf
from ml_dtypes import finfo
from numpy.typing import NDArray

from tests.helpers.reference.resampling import kernel2d

Array = NDArray[Any]
Function = Callable[[tf.Tensor], tf.Tensor]


def random(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def relative_error(actual: Any, expected: Any) -> float:
    """||actual - expected|| / ||expected||, in float64; infinite where the shapes differ."""
    a, b = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        return np.inf
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def psnr(actual: Any, expected: Any) -> float:
    """10 log10(4 / mean squared difference) dB: images in [-1, 1] have a range of 2."""
    difference = np.asarray(actual, np.float64) - np.asarray(expected, np.float64)
    return float(10 * np.log10(4 / np.mean(difference**2)))


def assert_normal(sample: Array, deviation: float) -> None:
    """Assert that the numbers may well be normally distributed, with mean 0."""
    assert scipy.stats.kstest(sample, scipy.stats.norm(0, deviation).cdf).pvalue > 1e-4


def nhwc(x: Any) -> Array:
    return np.transpose(np.asarray(x), (0, 2, 3, 1))


def nchw(x: Any) -> Array:
    return np.transpose(np.asarray(x), (0, 3, 1, 2))


def magnitude_kernel(taps: Any) -> Array:
    """The positive kernel [Kh, Kw] by which rounding errors of a filter (arguments as in sg3tf.ops) are measured."""
    kernel = kernel2d(taps)
    if np.ndim(taps) == 2:  # computed as a sum of separable filters, which may cancel
        left, values, right = np.linalg.svd(kernel, full_matrices=False)
        kernel = np.abs(left) @ (values[:, None] * np.abs(right))
    return np.abs(kernel)


def derivative(function: Function) -> Function:
    """The gradient of (the sum of) function(t) with respect to t, to be differentiated again."""

    def differentiated(t: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(t)
            y = function(t)
        return tape.gradient(y, t, unconnected_gradients="zero")

    return differentiated


class Rounding:
    """Bounds on the rounding error of sums of products, elementwise.

    Arithmetic is in float32, or in the type of the result where that is wider; so a 16-bit result is rounded once.

    Args:
        dtype: of the inputs and the result.
        operations: number of roundings between a product and the final sum.
    """

    def __init__(self, dtype: Any, operations: int) -> None:
        self.dtype = np.dtype(dtype)
        narrow = self.dtype.itemsize < 4
        wide = np.dtype(np.float32 if narrow else dtype)
        self.relative = (operations + 4) * float(finfo(wide).eps)  # 4: constants, gain and the like
        self.last = float(finfo(dtype).eps) / 2 if narrow else 0.0
        self.smallest = float(finfo(dtype).smallest_subnormal)

    def check(self, actual: Any, exact: Array, magnitude: Array, doubtful: Array | float = 0.0) -> None:
        """Assert that `actual` lies within the bounds.

        Args:
            actual: the rounded results.
            exact: results of float64 arithmetic for the same inputs.
            magnitude: the same sum with all terms positive.
            doubtful: further error that the inputs justify.
        """
        actual = np.asarray(actual, np.float64)
        assert actual.shape == exact.shape
        bound = self.relative * magnitude + doubtful
        bound = bound + self.last * (np.abs(exact) + bound) + self.smallest
        worst = np.max(np.abs(actual - exact) / bound, initial=0)
        assert worst <= 1, f"{worst:.3g} times the rounding error to be expected"
