"""Resampling geometry: sizes, adjoints, and filters as sums of separable ones. NumPy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def rank_tolerance(dtype: DTypeLike) -> float:
    """Return the fraction of the largest singular value below which others are negligible in `dtype`.

    It is a quarter of the relative error of rounding one number, as every sample is (docs/adr/0004).

    Examples:
        >>> [f"{rank_tolerance(dtype):.1e}" for dtype in ("float64", "float32", "float16", "bfloat16")]
        ['2.8e-17', '1.5e-08', '1.2e-04', '9.8e-04']
    """
    return float(ml_dtypes.finfo(dtype).eps) / 8


@dataclasses.dataclass(frozen=True)
class Axis:
    """Resampling along one axis: insert `up - 1` zeros, pad or crop, correlate, keep every `down`-th sample.

    Examples:
        >>> axis = Axis(up=2, down=1, before=2, after=1, num_taps=4)
        >>> axis.out_size(8)
        16
        >>> axis.adjoint(8).out_size(16)
        8
    """

    up: int
    down: int
    before: int
    after: int
    num_taps: int

    def out_size(self, in_size: int) -> int:
        """Number of output samples; less than 1 if the padded input is shorter than the filter."""
        return (in_size * self.up + self.before + self.after - self.num_taps) // self.down + 1

    def adjoint(self, in_size: int) -> Axis:
        """Return the axis of the transposed operator, which maps `out_size(in_size)` samples to `in_size`."""
        out_size = self.out_size(in_size)
        return Axis(
            up=self.down,
            down=self.up,
            before=self.num_taps - 1 - self.before,
            after=in_size * self.up - out_size * self.down + self.before - self.up + 1,
            num_taps=self.num_taps,
        )

    def matrix(self, taps: ArrayLike, in_size: int) -> NDArray[np.float64]:
        """Return the resampling as a matrix, float64 [out_size(in_size), in_size].

        Args:
            taps: [num_taps], in the order of a correlation.
            in_size: number of input samples.
        """
        out_size, taps = self.out_size(in_size), np.asarray(taps)
        matrix = np.zeros([out_size, in_size])
        out = np.arange(out_size)
        for k in range(self.num_taps):
            source, rest = np.divmod(out * self.down + k - self.before, self.up)
            read = (rest == 0) & (source >= 0) & (source < in_size)
            matrix[out[read], source[read]] += taps[k]
        return matrix


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """Two-dimensional correlation kernel as a sum of outer products y[r] x[r].

    Separable filters have one term. The radial 12 x 12 filters of config R have two to five, because their remaining
    singular values are below the precision of the images (docs/adr/0004). So no backend needs a true 2D convolution.

    Examples:
        >>> binomial = Filter.from_taps([1, 3, 3, 1], flip=False, gain=1 / 64)
        >>> binomial.y.shape, binomial.x.shape
        ((1, 4), (1, 4))
        >>> float(np.sum(binomial.y.T @ binomial.x))
        1.0
    """

    y: NDArray[np.float64]  # [terms, Ky]
    x: NDArray[np.float64]  # [terms, Kx]

    @property
    def taps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vertical and horizontal factors."""
        return self.y, self.x

    @classmethod
    def from_taps(cls, taps: ArrayLike | None, flip: bool, gain: float, dtype: DTypeLike = "float32") -> Filter:
        """Return the kernel for `taps`.

        Args:
            taps: [K] separable, [Ky, Kx], or None for no filter.
            flip: correlate with the taps instead of convolving.
            gain: factor on the result.
            dtype: of the images; terms that are negligible in it are left out.
        """
        array = np.ones([1]) if taps is None else np.asarray(taps, np.float64)
        if not flip:
            array = np.flip(array)
        if array.ndim == 1:
            y, x = array[None], array[None]
        else:
            left, values, right = np.linalg.svd(array, full_matrices=False)
            terms = max(1, int(np.sum(values > rank_tolerance(dtype) * values[0])))
            scale = np.sqrt(values[:terms, None])
            y, x = left.T[:terms] * scale, right[:terms] * scale
        return cls(np.ascontiguousarray(y * gain), np.ascontiguousarray(x))

    def adjoint(self) -> Filter:
        """Return the kernel of the transposed operator."""
        return Filter(self.y[:, ::-1].copy(), self.x[:, ::-1].copy())


@dataclasses.dataclass(frozen=True, eq=False)
class Resampling:
    """The linear map of one upfirdn2d, the same for every image and channel of [N, H, W, C].

    Examples:
        >>> up = Resampling.create([1, 3, 3, 1], up=2, down=1, pad=(2, 1, 2, 1), flip_filter=False, gain=4)
        >>> up.out_size(8, 16)
        (16, 32)
        >>> up.adjoint(8, 16).out_size(16, 32)
        (8, 16)
    """

    axes: tuple[Axis, Axis]  # vertical, horizontal
    filter: Filter

    @classmethod
    def create(
        cls,
        taps: ArrayLike | None,
        up: int | Sequence[int],
        down: int | Sequence[int],
        pad: Sequence[int],
        flip_filter: bool,
        gain: float,
        dtype: DTypeLike = "float32",
    ) -> Resampling:
        """Check the arguments of sg3tf.ops.upfirdn2d and return its linear map, for images of `dtype`.

        Raises:
            ValueError: invalid argument; the message gives its value and the remedy.
        """
        up_y, up_x = factors("up", up)
        down_y, down_x = factors("down", down)
        if np.shape(pad) != (4,) or any(int(p) != p for p in pad):
            raise ValueError(f"pad={pad!r}: give four integers (top, bottom, left, right)")
        top, bottom, left, right = (int(p) for p in pad)
        if taps is not None and (np.ndim(taps) not in (1, 2) or np.size(taps) == 0):
            raise ValueError(f"taps of shape {np.shape(taps)}: give [K], [Kh, Kw] or None")
        kernel = Filter.from_taps(taps, flip_filter, gain, dtype)
        axis_y = Axis(up_y, down_y, top, bottom, kernel.y.shape[1])
        axis_x = Axis(up_x, down_x, left, right, kernel.x.shape[1])
        return cls((axis_y, axis_x), kernel)

    def adjoint(self, height: int, width: int) -> Resampling:
        """Return the transposed map, whose output has size `height` x `width`."""
        axes = self.axes[0].adjoint(height), self.axes[1].adjoint(width)
        return Resampling(axes, self.filter.adjoint())

    @property
    def factor(self) -> int:
        """The largest sampling rate factor."""
        return max(max(axis.up, axis.down) for axis in self.axes)

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the output.

        Raises:
            ValueError: the padded input is smaller than the filter.
        """
        size = self.axes[0].out_size(height), self.axes[1].out_size(width)
        if min(size) < 1:
            raise ValueError(
                f"x of height {height} and width {width} is smaller than its filter after padding "
                f"{self.axes}: increase pad or use a shorter filter"
            )
        return size


def factors(name: str, value: Any) -> tuple[int, int]:
    """Return sampling rate factors as a pair (y, x).

    Raises:
        ValueError: they are neither a positive integer nor a pair of them; the message calls them `name`.
    """
    pair = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2 or any(int(p) != p or p < 1 for p in pair):
        raise ValueError(f"{name}={value!r}: give a positive integer or a pair (y, x) of them")
    return int(pair[0]), int(pair[1])
