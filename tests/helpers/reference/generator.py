"""Forward pass of the generator in float64, under the official parameter names and layouts.

Images [N, C, H, W], weights [out, in, height, width]. Written from the papers; convolutions
use one explicit kernel per image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike, NDArray

from sg3tf.models.configs import GeneratorConfig
from tests.helpers.reference import plan
from tests.helpers.reference.filters import low_pass
from tests.helpers.reference.resampling import filtered_lrelu

Array = NDArray[np.float64]
Arrays = Mapping[str, ArrayLike]


def lrelu(x: Array, slope: float = 0.2) -> Array:
    return np.where(x < 0, slope * x, x)


def dense(arrays: Arrays, name: str, x: Array, lr_multiplier: float = 1.0) -> Array:
    weight, bias = (np.asarray(arrays[f"{name}.{part}"], np.float64) for part in ("weight", "bias"))
    return x @ (weight * lr_multiplier / math.sqrt(weight.shape[1])).T + bias * lr_multiplier


def normalized(x: ArrayLike) -> Array:
    x = np.asarray(x, np.float64)
    return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)


def mapping(
    arrays: Arrays,
    z: ArrayLike | None,
    label: ArrayLike | None,
    num_layers: int,
    lr_multiplier: float = 0.01,
    is_linear: bool = False,
) -> Array:
    """Return [N, w_dim], without truncation."""
    parts = [] if z is None else [normalized(z)]
    if label is not None:
        parts.append(normalized(dense(arrays, "mapping.embed", np.asarray(label, np.float64))))
    w = np.concatenate(parts, axis=1)
    for index in range(num_layers):
        w = dense(arrays, f"mapping.fc{index}", w, lr_multiplier)
        w = w if is_linear else lrelu(w) * math.sqrt(2)
    return w


def fourier_input(
    arrays: Arrays, w: ArrayLike, size: int, rate: int, bandwidth: float, transform: ArrayLike | None = None
) -> Array:
    weight, freqs, phases, own = (
        np.asarray(arrays[f"synthesis.input.{part}"], np.float64) for part in ("weight", "freqs", "phases", "transform")
    )
    images = []
    for rc, rs, tx, ty in dense(arrays, "synthesis.input.affine", np.asarray(w, np.float64)):
        length = math.hypot(rc, rs)
        rotation = np.array([[rc, -rs, 0], [rs, rc, 0], [0, 0, length]]) / length
        translation = np.array([[1, 0, -tx / length], [0, 1, -ty / length], [0, 0, 1]])
        motion = rotation @ translation @ np.asarray(own if transform is None else transform, np.float64)
        moved_phases = phases + freqs @ motion[:2, 2]
        moved = freqs @ motion[:2, :2]
        amplitudes = np.clip(1 - (np.linalg.norm(moved, axis=1) - bandwidth) / (rate / 2 - bandwidth), 0, 1)
        center = (np.arange(size) + 0.5 - size / 2) / rate
        x, y = np.meshgrid(center, center)
        waves = [
            a * np.sin(2 * np.pi * (fx * x + fy * y + phase))
            for a, (fx, fy), phase in zip(amplitudes, moved, moved_phases, strict=True)
        ]
        images.append(np.tensordot(weight / math.sqrt(len(freqs)), np.array(waves), axes=1))
    return np.array(images)


def modulated_conv(x: Array, weight: Array, styles: Array, demodulate: bool, input_gain: float) -> Array:
    """Convolve with 'full' zero padding: [N, out, H + K - 1, W + K - 1]."""
    if demodulate:
        weight = weight / np.sqrt(np.mean(weight**2, axis=(1, 2, 3), keepdims=True))
        styles = styles / np.sqrt(np.mean(styles**2))
    kernels = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        kernels = kernels / np.sqrt(np.sum(kernels**2, axis=(2, 3, 4), keepdims=True) + 1e-8)
    kernels = kernels * input_gain
    return np.array([correlate(image, kernel, "full") for image, kernel in zip(x, kernels, strict=True)])


def correlate(image: Array, kernel: Array, mode: str) -> Array:
    """Convolve one image [in, H, W] with one kernel [out, in, K, K]."""
    return np.array(
        [
            sum(
                scipy.signal.correlate(plane, taps, mode, method="direct")
                for plane, taps in zip(image, out, strict=True)
            )
            for out in kernel
        ]
    )


def synthesis_layer(arrays: Arrays, layer: plan.Layer, x: Array, w: Array, clamp: float = 256.0) -> Array:
    prefix = f"synthesis.{layer.name}"
    styles = dense(arrays, f"{prefix}.affine", w)
    if layer.torgb:
        styles = styles / math.sqrt(layer.in_channels * layer.kernel**2)
    gain = 1 / math.sqrt(np.asarray(arrays[f"{prefix}.magnitude_ema"], np.float64))
    x = modulated_conv(x, np.asarray(arrays[f"{prefix}.weight"], np.float64), styles, not layer.torgb, gain)
    rate = layer.temporary_rate
    return filtered_lrelu(
        x,
        low_pass(layer.up_taps, layer.in_cutoff, layer.in_half_width, rate),
        low_pass(layer.down_taps, layer.out_cutoff, layer.out_half_width, rate, layer.use_radial_filters),
        np.asarray(arrays[f"{prefix}.bias"], np.float64),
        up=layer.up,
        down=layer.down,
        pad=(*layer.pad, *layer.pad),
        gain=1.0 if layer.torgb else math.sqrt(2),
        slope=1.0 if layer.torgb else 0.2,
        clamp=clamp,
    )


def synthesis(arrays: Arrays, config: GeneratorConfig, ws: ArrayLike, transform: ArrayLike | None = None) -> Array:
    ws = np.asarray(ws, np.float64)
    first = plan.entries(config)
    x = fourier_input(arrays, ws[:, 0], int(first.size[0]), int(first.rate[0]), float(first.cutoff[0]), transform)
    for index, layer in enumerate(plan.layers(config), start=1):
        x = synthesis_layer(arrays, layer, x, ws[:, index])
    return x * 0.25
