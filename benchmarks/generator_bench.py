"""Seconds per generated image, one JSON line per network, backend and precision.

python -m benchmarks.generator_bench --presets=T-256,R-256 --impl=native,xla --dtype=float32,bfloat16

Every configuration runs in its own process, to measure its own peak memory; all configurations of a network alternate.
Each turn also runs the network without its nonlinearities, whose share is the difference. Images are compared with
those of another process in float32. Each row also has the arithmetic of the layer plan and a lower bound on its time
for direct convolutions: convolutions at the speed of a large matrix product of that precision, and filters at that of
float32 multiply-adds in registers, both measured in every turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from numpy.typing import NDArray

from benchmarks import machine, report
from benchmarks.networks import Network, convolution_flop, generator_flop
from benchmarks.report import Row, goal, median
from benchmarks.workers import Worker, peak_memory_gb
from sg3tf import Generator, build_generator, latents, ops
from sg3tf.models import stylegan3

GIGA = 1e9
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

#: Goals in seconds on two quiet cores, one image per call, by precision.
SECONDS = {
    "T-256": {"float32": 1.3, "bfloat16": 0.55},
    "R-256": {"float32": 1.0, "bfloat16": 0.65},
    "T-1024": {"float32": 4.0, "bfloat16": 4.0},
}
MEMORY_GB = {"T-1024": 2.5}
NONLINEARITY_SHARE = {"T-256": 0.15, "R-256": 0.35}
OVER_NETWORK_WITHOUT = {"T-256": 1.25, "T-1024": 1.25}

_PRESETS = flags.DEFINE_list("presets", ["T-256", "R-256"], "networks to time")
_CHANNEL_BASE = flags.DEFINE_integer(
    "channel_base", None, "channel base of the networks, like the trainer's --cbase; default: the published one"
)
_CHANNEL_MAX = flags.DEFINE_integer("channel_max", 512, "most channels of a layer, like the trainer's --cmax")
_BATCH = flags.DEFINE_integer("batch", 1, "images per call", lower_bound=1)
_DTYPE = report.dtype_flag(report.DTYPES)


@dataclasses.dataclass(frozen=True)
class Side:
    """One configuration of a network."""

    network: Network
    impl: str
    dtype: str
    batch: int


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Speeds of this machine in GFLOP/s: large matrix products by precision, and multiply-adds in registers."""

    matmul: dict[str, float]
    fma: float

    @classmethod
    def measured(cls) -> Speeds:
        matmul = {dtype: machine.matmul_gflop_per_second(dtype) for dtype in _DTYPE.value}
        return cls(matmul, machine.peaks()["fma_gflop_per_second"])

    @classmethod
    def median(cls, of: Sequence[Speeds]) -> Speeds:
        matmul = {dtype: median([one.matmul[dtype] for one in of]) for dtype in of[0].matmul}
        return cls(matmul, median([one.fma for one in of]))


class TimedGenerator:
    """A generator with the weights that all sides share.

    Args:
        side: the configuration.
        magnitudes: running statistics, by layer.
    """

    def __init__(self, side: Side, magnitudes: Sequence[float]) -> None:
        self._impl = side.impl
        self._generator = seeded_generator(side.network, side.dtype)
        for layer, magnitude in zip(self._generator.synthesis_layers, magnitudes, strict=True):
            layer.magnitude_ema.assign(magnitude)
        self._z = some_latents(self._generator, side.batch)
        self._whole = tf.function(lambda z: self._generator(z))
        self._without = tf.function(lambda z: self._generator(z))

    def first(self) -> dict[str, Any]:
        """Return the images, the seconds of tracing and compiling, and the peak memory of the network only."""
        with ops.use_backend(self._impl):
            start = time.perf_counter()
            images = self._whole(self._z).numpy()
            compiled = time.perf_counter() - start
            self._whole(self._z)
            peak = peak_memory_gb()
            with without_nonlinearities(len(self._generator.synthesis_layers)):
                self._without(self._z)
        return {"images": images, "compile_seconds": compiled, "peak_memory_gb": peak}

    def repeat(self) -> tuple[float, float]:
        """Return the seconds with and without the nonlinearities."""
        return machine.seconds(lambda: self._whole(self._z)), machine.seconds(lambda: self._without(self._z))


def seeded_generator(network: Network, dtype: str) -> Generator:
    """Return a generator with the same weights for every precision and process."""
    keras.utils.set_random_seed(0)
    return build_generator(network.generator(), dtype=POLICIES[dtype])


def some_latents(generator: Generator, batch: int) -> tf.Tensor:
    return tf.constant(latents.z_from_seeds(range(batch), generator.config.z_dim))


@contextlib.contextmanager
def without_nonlinearities(layers: int) -> Iterator[None]:
    """Replace each nonlinearity of networks traced in this block by a broadcast of its middle sample."""

    def constant(x: tf.Tensor, up_taps: Any, down_taps: Any, bias: tf.Tensor, **options: Any) -> tf.Tensor:
        top, bottom, left, right = options["pad"]
        taps = sum(len(f) if f is not None else 1 for f in (up_taps, down_taps)) - 2
        height = (x.shape[1] * options["up"] + top + bottom - taps + options["down"] - 1) // options["down"]
        width = (x.shape[2] * options["up"] + left + right - taps + options["down"] - 1) // options["down"]
        middle = x[:, x.shape[1] // 2, x.shape[2] // 2, :] + tf.cast(bias, x.dtype)
        return tf.broadcast_to(middle[:, None, None, :], [tf.shape(x)[0], height, width, x.shape[3]])

    with mock.patch.object(stylegan3, "filtered_lrelu", side_effect=constant) as replaced:
        yield
    if replaced.call_count != layers:
        raise RuntimeError(f"{replaced.call_count} of {layers} nonlinearities replaced: SynthesisLayer calls another")


def reference(network: Network, batch: int) -> tuple[NDArray[np.float32], list[float]]:
    """Return images in float32, and running statistics that give them full contrast, as after training."""
    generator = seeded_generator(network, "float32")
    for layer in generator.synthesis_layers:
        layer.magnitude_ema_beta = 0.0
    images = generator(some_latents(generator, batch), update_emas=True).numpy()
    return images, [float(layer.magnitude_ema.numpy()) for layer in generator.synthesis_layers]


def row_of(side: Side, first: dict[str, Any], times: Sequence[tuple[float, float]], speeds: Speeds) -> Row:
    """Return the measurements of one side."""
    name, config = side.network.name, side.network.generator()
    seconds, without = (median(column) / side.batch for column in zip(*times, strict=True))
    ratio = median([whole / bare for whole, bare in times])  # of each turn, as the load may change between turns
    convolutions = convolution_flop(config) / GIGA
    filters = generator_flop(config) / GIGA - convolutions
    row: Row = {
        "network": name,
        "channel_base": side.network.channel_base,
        "impl": side.impl,
        "dtype": side.dtype,
        "batch": side.batch,
        "seconds_per_image": seconds,
        "seconds_per_call": [whole for whole, _ in times],
        "seconds_without_nonlinearities": without,
        "seconds_over_those_without": ratio,
        "nonlinearity_share": 1 - 1 / ratio,
        "peak_memory_gb": first["peak_memory_gb"],
        "compile_seconds": first["compile_seconds"],
        "convolution_gflop_per_image": convolutions,
        "filter_gflop_per_image": filters,
        "gflop_per_second": (convolutions + filters) / seconds,
        "matmul_gflop_per_second": speeds.matmul[side.dtype],
        "fma_gflop_per_second": speeds.fma,
        "floor_seconds_per_image": convolutions / speeds.matmul[side.dtype] + filters / speeds.fma,
    }
    if name in SECONDS:
        bounds = {
            "seconds_per_image": (seconds, SECONDS[name][side.dtype]),
            "nonlinearity_share": (1 - 1 / ratio, NONLINEARITY_SHARE.get(name)),
            "seconds_over_those_without": (ratio, OVER_NETWORK_WITHOUT.get(name)),
            "peak_memory_gb": (first["peak_memory_gb"], MEMORY_GB.get(name)),
        }
        row["goals"] = {what: goal(value, bound) for what, (value, bound) in bounds.items() if bound is not None}
    return row


def difference(images: NDArray[np.float32], expected: NDArray[np.float32]) -> Row:
    """Return statistics of the difference of images in [-1, 1], in those units."""
    error = images.astype(np.float64) - expected
    return {
        "max": float(np.max(np.abs(error))),
        "rms": float(np.sqrt(np.mean(error**2))),
        "rms_of_images": float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))),
    }


def measure(network: Network) -> Iterator[Row]:
    """Measure all sides of one network in turn."""
    expected, magnitudes = reference(network, _BATCH.value)
    sides = [Side(network, impl, dtype, _BATCH.value) for dtype in _DTYPE.value for impl in report.IMPL.value]
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(TimedGenerator, side, magnitudes)) for side in sides]
        firsts = [worker.call("first") for worker in workers]
        turns, speeds = [], []
        for _ in range(report.REPEATS.value):
            turns.append([worker.call("repeat") for worker in workers])
            speeds.append(Speeds.measured())
    rows = [
        row_of(side, first, times, Speeds.median(speeds))
        for side, first, times in zip(sides, firsts, zip(*turns, strict=True), strict=True)
    ]
    for row, first in zip(rows, firsts, strict=True):
        row["difference_from_float32"] = difference(first["images"], expected)
        same = {other["impl"]: other for other in rows if other["dtype"] == row["dtype"]}
        if "native" in same:
            row["seconds_over_native"] = row["seconds_per_image"] / same["native"]["seconds_per_image"]
        yield row


def results() -> Iterator[Row]:
    networks = [Network.named(name, _CHANNEL_BASE.value, _CHANNEL_MAX.value) for name in _PRESETS.value]
    for network in networks:
        yield from measure(network)


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
