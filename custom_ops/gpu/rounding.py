"""Measure how much the roundings of filtered_lrelu on tensor cores degrade images, emulated without a GPU.

python custom_ops/gpu/rounding.py --network=examples/portraits-64.keras --out=rounding.json

Emulates the forward pass for float16 images and separable filters (docs/adr/0020): upsampling along y, upsampling along
x with the nonlinearity, downsampling along x, downsampling along y, with numbers and filters rounded in between. Prints
EQ-T and EQ-T_frac in dB, and the root mean square difference from float32 images, for float32 arithmetic between input
and output of the operation, and for the kernel. Without --network, uses StyleGAN3-T of 64 pixels with random weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import sg3tf  # noqa: E402
from sg3tf.metrics.evaluate import compute  # noqa: E402
from sg3tf.models import stylegan3  # noqa: E402
from sg3tf.ops import filtered_lrelu, upfirdn2d  # noqa: E402

Taps = NDArray[np.float64]
HALF_MAX = float(np.finfo(np.float16).max)


def round_taps(taps: Taps, factor: int) -> Taps:
    """Round taps to float16, keeping the sum of each of `factor` phases as well as one step of each tap allows."""
    result = taps.astype(np.float16)
    for phase in range(factor):
        chosen = result[phase::factor]  # a view
        missing = float(np.sum(taps[phase::factor] - chosen))
        moved = chosen == 0
        while not moved.all():
            towards = np.nextafter(chosen, np.float16(math.copysign(math.inf, missing)))
            steps = towards.astype(np.float64) - chosen
            rest = np.where(moved, math.inf, np.abs(missing - steps))
            best = int(np.argmin(rest))
            if rest[best] >= abs(missing):
                break
            chosen[best], missing, moved[best] = towards[best], missing - steps[best], True
    return result.astype(np.float64)


def normalize(taps: Taps, factor: int) -> tuple[Taps, float]:
    """Divide by the power of two that makes outputs at most as large as inputs; also return that power."""
    gain = 2.0 ** math.ceil(math.log2(max(np.abs(taps[phase::factor]).sum() for phase in range(factor))))
    return taps / gain, gain


def rounding_error(taps: Taps) -> float:
    """Sum of the squared changes by rounding to float16, relative to the sum of the squared taps."""
    return float(np.sum((taps - taps.astype(np.float16)) ** 2) / np.sum(taps**2))


def round_half(x: tf.Tensor) -> tf.Tensor:
    """Round float32 to float16, with saturation, and back."""
    return tf.cast(tf.cast(tf.clip_by_value(x, -HALF_MAX, HALF_MAX), tf.float16), tf.float32)


def emulate(
    x: tf.Tensor,
    up_taps: Any,
    down_taps: Any,
    bias: tf.Tensor,
    *,
    up: int,
    down: int,
    pad: tuple[int, int, int, int],
    gain: float,
    slope: float,
    clamp: float,
    rounds: bool = True,
) -> tf.Tensor:
    """sg3tf.ops.filtered_lrelu with the kernel's arithmetic if x is float16 and the filters are separable.

    Without `rounds`, runs the same passes in float32. The other arguments and the result are those of filtered_lrelu.
    """
    if x.dtype != tf.float16 or up == 1 or np.ndim(down_taps) != 1:
        return filtered_lrelu(
            x, up_taps, down_taps, bias, up=up, down=down, pad=pad, gain=gain, slope=slope, clamp=clamp
        )
    stored = round_half if rounds else tf.identity

    def used(taps: Taps, factor: int) -> Taps:
        return round_taps(taps, factor) if rounds else taps

    # Samples are scaled so that the clamp becomes the largest number and z + bent |z| is the leaky ReLU.
    up_y, gain_y = normalize(np.asarray(up_taps, np.float64) * up**2 * gain, up)
    up_x, gain_x = normalize(np.asarray(up_taps, np.float64), up)
    scale = (1 + slope) / 2 * HALF_MAX / clamp * gain_y * gain_x
    shares = [2 ** (-i / 8) for i in range(8)]
    share = min(shares, key=lambda share: rounding_error(up_y * share) + rounding_error(up_x * scale / share))
    up_y, up_x = used(up_y * share, up), used(up_x * scale / share, up)
    last, gain_last = normalize(np.asarray(down_taps, np.float64), 1)
    last = used(last, 1)

    def along_y(x: tf.Tensor) -> tf.Tensor:
        return upfirdn2d(x, up_y[:, None], up=(up, 1), pad=(*pad[:2], 0, 0))

    def along_x(x: tf.Tensor) -> tf.Tensor:
        return upfirdn2d(x, up_x[None], up=(1, up), pad=(0, 0, *pad[2:]))

    image = tf.cast(x, tf.float32)
    biases = tf.broadcast_to(tf.cast(tf.cast(bias, x.dtype), tf.float32), tf.shape(image[:1]))
    z = along_x(stored(along_y(image))) + along_x(along_y(biases))
    z += (1 - slope) / (1 + slope) * tf.abs(z)
    swept = upfirdn2d(stored(tf.clip_by_value(z, -HALF_MAX, HALF_MAX)), last[None], down=(1, down))
    swept = stored(swept) + stored(swept - stored(swept))
    return tf.cast(upfirdn2d(swept, last[:, None], down=(down, 1)) * (gain_last**2 * clamp / HALF_MAX), x.dtype)


def measure(operation: Callable[..., tf.Tensor], G: Any, reference: Any, latents: int) -> dict[str, float]:
    """Return EQ-T on `latents` latents, and the difference of 8 images from `reference`, with `operation` in G."""
    stylegan3.filtered_lrelu = operation  # type: ignore[attr-defined]
    try:
        values = compute(["eqt50k_int", "eqt50k_frac"], G, num_samples=latents)
        result = {name: round(value, 2) for name, value in values.items()}
        z = sg3tf.latents.z_from_seeds(range(8), G.config.z_dim)
        difference = np.asarray(G(z), np.float32) - reference(z)
    finally:
        stylegan3.filtered_lrelu = filtered_lrelu  # type: ignore[attr-defined]
    return result | {"difference": float(np.sqrt(np.mean(difference**2)))}


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help=".keras file of a StyleGAN3-T generator")
    parser.add_argument("--latents", type=int, default=32, help="number of latents for EQ-T (default: 32)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    reference = (
        sg3tf.load(options.network)
        if options.network
        else sg3tf.Generator.from_preset("stylegan3-t", resolution=64, channel_base=2048, channel_max=32)
    )
    G = type(reference)(reference.config, dtype="mixed_float16")
    G.set_weights(reference.get_weights())
    report = {
        "network": options.network or "random weights",
        "latents": options.latents,
        "float32 between input and output": measure(filtered_lrelu, G, reference, options.latents),
        "kernel": measure(emulate, G, reference, options.latents),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
