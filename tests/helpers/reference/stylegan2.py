"""Forward pass of the StyleGAN2 generator in float64, under the official parameter names and layouts.

Images [N, C, H, W]. Written from the papers (arXiv 1912.04958, section 2 and figure 7; 2006.06676): one kernel for
each image, and filters applied to zero-extended signals.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.helpers.reference.generator import Arrays, correlate, dense, lrelu
from tests.helpers.reference.resampling import upfirdn2d

Array = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0) * math.sqrt(2),
    "lrelu": lambda x: lrelu(x) * math.sqrt(2),
}


class Synthesis:
    """The synthesis network.

    Args:
        arrays: parameters.
        resolution: of the image.
        architecture: "skip", "resnet" or "orig".
        activation: of the convolutions.
        taps: of the resampling filter, of any sum.
        clamps: {layer: bound on its activations}, such as {"b8.conv0": 2.0}.
    """

    def __init__(
        self,
        arrays: Arrays,
        resolution: int,
        architecture: str = "skip",
        activation: str = "lrelu",
        taps: ArrayLike = (1, 3, 3, 1),
        clamps: dict[str, float] | None = None,
    ) -> None:
        self.arrays, self.resolution, self.architecture = arrays, resolution, architecture
        self.activation, self.clamps = ACTIVATIONS[activation], clamps or {}
        self.taps = np.asarray(taps, np.float64) / np.sum(taps)

    def images(self, ws: ArrayLike) -> Array:
        ws = np.asarray(ws, np.float64)
        x = np.repeat(self.get("b4.const")[None], len(ws), axis=0)
        x = self.conv("b4.conv1", x, ws[:, 0])
        image = self.torgb("b4", x, ws[:, 1]) if self.architecture == "skip" else np.zeros([])
        side, index = 8, 1
        while side <= self.resolution:
            block, before = f"b{side}", x
            x = self.conv(f"{block}.conv0", x, ws[:, index], up=True)
            x = self.conv(f"{block}.conv1", x, ws[:, index + 1])
            if self.architecture == "resnet":
                kernel = self.get(f"{block}.skip.weight")[:, :, 0, 0]
                skip = np.einsum("oi,nihw->nohw", kernel / math.sqrt(kernel.shape[1]), before)
                x = math.sqrt(0.5) * (self.upsampled(skip) + x)
            if self.architecture == "skip":
                image = self.upsampled(image) + self.torgb(block, x, ws[:, index + 2])
            elif side == self.resolution:
                image = self.torgb(block, x, ws[:, index + 2])
            side, index = 2 * side, index + 2
        return image

    def get(self, name: str) -> Array:
        return np.asarray(self.arrays[f"synthesis.{name}"], np.float64)

    def upsampled(self, x: Array, extra: int = 0) -> Array:
        """Filter between the pixels of x, centered, with `extra` pixels around."""
        before, after = (len(self.taps) + 1) // 2 + extra, (len(self.taps) - 2) // 2 + extra
        return upfirdn2d(x, self.taps, up=2, pad=(before, after, before, after), gain=4)

    def conv(self, name: str, x: Array, w: Array, up: bool = False) -> Array:
        kernels = self.get(f"{name}.weight")[None] * self.styles(name, w)[:, None, :, None, None]
        kernels /= np.sqrt(np.sum(kernels**2, axis=(2, 3, 4), keepdims=True) + 1e-8)
        if up:  # convolves where the others correlate
            x, kernels = self.upsampled(x, extra=1), kernels[..., ::-1, ::-1]
        mode = "valid" if up else "same"
        x = np.array([correlate(image, kernel, mode) for image, kernel in zip(x, kernels, strict=True)])
        if f"synthesis.{name}.noise_strength" in self.arrays:
            x = x + self.get(f"{name}.noise_const") * self.get(f"{name}.noise_strength")
        x = self.activation(x + self.get(f"{name}.bias")[:, None, None])
        bound = self.clamps.get(name, math.inf)
        return np.clip(x, -bound, bound)

    def torgb(self, block: str, x: Array, w: Array) -> Array:
        kernel = self.get(f"{block}.torgb.weight")[:, :, 0, 0]
        styles = self.styles(f"{block}.torgb", w) / math.sqrt(kernel.shape[1])
        image = np.einsum("oi,ni,nihw->nohw", kernel, styles, x) + self.get(f"{block}.torgb.bias")[:, None, None]
        bound = self.clamps.get(f"{block}.torgb", math.inf)
        return np.clip(image, -bound, bound)

    def styles(self, name: str, w: Array) -> Array:
        return dense(self.arrays, f"synthesis.{name}.affine", w)
