"""Seconds per generated image, one JSON line per preset, resolution and implementation.

python -m benchmarks.generator_bench --presets=stylegan3-t --resolutions=256 --impl=xla,matmul

Beside the time stand the arithmetic that the layer plan asks for, and the time that it would take at the speed of a
large matrix product, measured in the same run: the floor for implementations that convolve directly in float32.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from absl import app, flags

from sg3tf import ConfigError, Generator, latents, ops
from sg3tf.config import PRESETS
from sg3tf.filters import low_pass
from sg3tf.layer_plan import LayerPlan, SynthesisPlan, plan_synthesis
from sg3tf.ops.resampling import Filter

PEAK_SIZE = 2048  # side of the square matrices whose product tells the peak
GIGA = 1e9

_PRESETS = flags.DEFINE_list("presets", list(PRESETS), "generators to time")
_RESOLUTIONS = flags.DEFINE_list("resolutions", ["256"], "sides of the images")
_CHANNEL_BASE = flags.DEFINE_integer("channel_base", 16384, "as --cbase of the trainer: config R doubles it")
_BATCH = flags.DEFINE_integer("batch", 1, "images per call", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls, after the one that compiles", lower_bound=1)
_IMPL = flags.DEFINE_list("impl", ["xla"], "implementations of the operations: xla, matmul")


def convolution_flop(plan: SynthesisPlan) -> int:
    """Of one image: every input sample takes part in kernel^2 products per pair of channels."""
    products = (plan.input.size * plan.input.channels) ** 2  # the map of the Fourier features
    for layer in plan.layers:
        products += (layer.in_size * layer.kernel) ** 2 * layer.in_channels * layer.out_channels
    return 2 * products


def filter_flop(layer: LayerPlan) -> int:
    """Of one image: separable passes, vertical first; upsampling never multiplies an inserted zero."""
    canvas = layer.in_size + layer.kernel - 1
    high = (layer.out_size - 1) * layer.down + layer.down_taps  # side of the upsampled canvas
    products = 0
    if layer.up_taps > 1:
        products += high * (canvas + high) * (layer.up_taps // layer.up)
    if layer.down_taps > 1:
        separable = layer.out_size * (high + layer.out_size) * layer.down_taps
        at_once = layer.out_size**2 * layer.down_taps**2
        products += min(down_terms(layer) * separable, at_once)
    return 2 * products * layer.out_channels


def down_terms(layer: LayerPlan) -> int:
    """Separable filters that the downsampling filter is the sum of."""
    taps = low_pass(layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, layer.radial)
    return len(Filter.from_taps(taps, False, 1.0).y)


def timed(function: Callable[[], tf.Tensor]) -> float:
    start = time.perf_counter()
    function().numpy()  # waits for the result
    return time.perf_counter() - start


def peak_gflops() -> float:
    """Speed of a large float32 matrix product, GFLOP/s; the best of five."""
    a = tf.random.normal([PEAK_SIZE, PEAK_SIZE])
    # The sum keeps the transfer of the result out of the time.
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    timed(product)
    return 2 * PEAK_SIZE**3 / min(timed(product) for _ in range(5)) / GIGA


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    gpus = [
        tf.config.experimental.get_device_details(g).get("device_name") for g in tf.config.list_physical_devices("GPU")
    ]
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "cpu": models[0] if models else platform.processor(), "gpus": gpus}


def measure(preset: str, resolution: int, impl: str, peak: float) -> dict[str, Any]:
    """Times one generator with random weights."""
    generator = Generator.from_preset(preset, resolution, channel_base=_CHANNEL_BASE.value)
    z = tf.constant(latents.z_from_seeds(range(_BATCH.value), generator.config.z_dim))
    function = tf.function(generator)
    with ops.implementation(impl):
        first = timed(lambda: function(z))
        repeats = [timed(lambda: function(z)) for _ in range(_REPEATS.value)]
    plan = plan_synthesis(generator.config)
    convolutions, filters = convolution_flop(plan) / GIGA, sum(map(filter_flop, plan.layers)) / GIGA
    per_image = statistics.median(repeats) / _BATCH.value
    return {
        "preset": preset,
        "resolution": resolution,
        "impl": impl,
        "channel_base": _CHANNEL_BASE.value,
        "batch": _BATCH.value,
        "seconds_per_image": round(per_image, 5),
        "seconds_per_call": [round(seconds, 5) for seconds in repeats],
        "compile_seconds": round(first - statistics.median(repeats), 3),
        "convolution_gflop_per_image": round(convolutions, 4),
        "filter_gflop_per_image": round(filters, 4),
        "gflop_per_second": round((convolutions + filters) / per_image, 2),
        "matmul_peak_gflop_per_second": round(peak, 1),
        "floor_seconds_per_image": round((convolutions + filters) / peak, 5),
    }


def results() -> Iterator[dict[str, Any]]:
    about, peak = machine(), peak_gflops()
    for preset in _PRESETS.value:
        for resolution in _RESOLUTIONS.value:
            for impl in _IMPL.value:
                yield {**measure(preset, int(resolution), impl, peak), "machine": about}


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {' '.join(argv[1:])}")
    try:
        for line in results():
            print(json.dumps(line), flush=True)
    except (ConfigError, ValueError) as error:
        raise app.UsageError(str(error)) from error


if __name__ == "__main__":
    app.run(main)
