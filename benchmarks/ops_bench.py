"""Times of all filtered nonlinearities of a network, one JSON line per geometry.

python -m benchmarks.ops_bench --presets=T-256,R-256,T-1024 --impl=native,xla

Three passes are measured: forward; forward with the data for a gradient (native: a mask of two bits per upsampled
sample); and backward. Each row also has lower bounds on the times: the arithmetic at the speed of multiply-adds in
registers, and the bytes of input, output and mask at the speed of a copy, both measured immediately before the layer.
XLA takes seconds to compile each geometry, and never frees the memory of compiled programs.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags

from benchmarks import machine, report
from benchmarks.networks import Network, canvas_size, filter_flop, high_size
from benchmarks.report import Row, goal, median
from sg3tf.models.filters import low_pass
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis
from sg3tf.models.layers import LRELU_GAIN, LRELU_SLOPE
from sg3tf.ops import filtered_lrelu
from sg3tf.utils.resolution import longer_side

GIGA = 1e9
PASSES = ("forward", "forward_with_mask", "backward")
LARGE = 100  # pixels
FASTER_THAN_XLA = 10.0  # goal for larger outputs
SHARE_OF_PEAK = {"multiply_adds": 0.5, "copies": 0.7}  # goal, for separable filters
BACKWARD_RATE = 0.5

_PRESETS = flags.DEFINE_list("presets", ["T-256", "R-256", "T-1024"], "networks whose layers to time")
_LAYERS = flags.DEFINE_list("layers", [], "layers to time, such as L3,L14; default: all")
_CHANNEL_BASE = flags.DEFINE_integer(
    "channel_base", None, "channel base of the networks, like the trainer's --cbase; default: the published one"
)
_CHANNEL_MAX = flags.DEFINE_integer("channel_max", 512, "most channels of a layer, like the trainer's --cmax")
_BATCH = flags.DEFINE_integer("batch", 1, "images per call", lower_bound=1)
_XLA_MIN_SIZE = flags.DEFINE_integer("xla_min_size", 0, "smallest output side in pixels at which XLA is measured")
_BIAS_GRADIENT = flags.DEFINE_bool("bias_gradient", True, "include the gradient of the bias in the backward pass")
_DTYPE = report.dtype_flag(["float32"])


def nonlinearity(layer: LayerPlan, impl: str, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Return the nonlinearity of a SynthesisLayer, which follows its convolution."""
    return filtered_lrelu(
        x,
        low_pass(layer.up_taps, layer.in_cutoff, layer.in_half_width, layer.temporary_rate),
        low_pass(
            layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, layer.use_radial_filters
        ),
        bias if _BIAS_GRADIENT.value else tf.stop_gradient(bias),
        up=layer.up,
        down=layer.down,
        pad=layer.padding,
        gain=1.0 if layer.is_torgb else LRELU_GAIN,
        slope=1.0 if layer.is_torgb else LRELU_SLOPE,
        clamp=256.0,
        impl=impl,
    )


class Timed:
    """One backend of one layer, compiled, and its times in seconds by pass."""

    def __init__(self, layer: LayerPlan, impl: str, inputs: Sequence[tf.Tensor]) -> None:
        self._function = tf.function(functools.partial(nonlinearity, layer, impl), autograph=False)
        self._x, self._bias, self._dy = inputs
        self.times: dict[str, list[float]] = {name: [] for name in PASSES}
        start = time.perf_counter()
        self.repeat()
        self.first_seconds = time.perf_counter() - start
        for times in self.times.values():
            times.clear()

    def repeat(self) -> None:
        self._function(self._x, self._bias)  # warm up caches and threads again after another backend's turn
        self.times["forward"].append(machine.seconds(lambda: self._function(self._x, self._bias)))
        with tf.GradientTape() as tape:
            tape.watch((self._x, self._bias))
            # The tape needs the result, which must not be freed during the measured time.
            kept: list[tf.Tensor] = []
            forward = machine.seconds(lambda: kept.append(self._function(self._x, self._bias)))
        gradient = functools.partial(tape.gradient, kept[0], (self._x, self._bias), self._dy)
        self.times["forward_with_mask"].append(forward)
        self.times["backward"].append(machine.seconds(gradient))


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The minimum work of a pass, and its time at the machine's peak speeds."""

    flop: float
    bytes: float
    peaks: dict[str, float]

    @property
    def floors(self) -> dict[str, float]:
        """Lower bounds on the time, in seconds."""
        return {
            "multiply_adds": self.flop / GIGA / self.peaks["fma_gflop_per_second"],
            "copies": self.bytes / GIGA / self.peaks["copy_gb_per_second"],
        }

    @property
    def binding(self) -> str:
        return max(self.floors, key=lambda name: self.floors[name])

    def row(self, seconds: float) -> Row:
        return {
            "ms": seconds * 1e3,
            "gflop_per_second": self.flop / GIGA / seconds,
            "gb_per_second": self.bytes / GIGA / seconds,
            "share_of_fma_peak": self.floors["multiply_adds"] / seconds,
            "share_of_copy_bandwidth": self.floors["copies"] / seconds,
        }


def bounds(layer: LayerPlan, dtype: tf.DType, peaks: dict[str, float]) -> dict[str, Bounds]:
    """Return the bounds by pass. The backward pass has the same arithmetic in reverse order."""
    flop = _BATCH.value * filter_flop(layer)
    samples = _BATCH.value * layer.out_channels
    ends = samples * (canvas_size(layer) ** 2 + longer_side(layer.out_size) ** 2) * dtype.size
    mask = samples * high_size(layer) ** 2 / 4
    return {name: Bounds(flop, ends if name == "forward" else ends + mask, peaks) for name in PASSES}


def measure(layer: LayerPlan, dtype: tf.DType, impls: Sequence[str]) -> Row:
    """Measure all backends of one layer in turn."""
    peaks = machine.peaks()
    canvas, out = [canvas_size(layer)] * 2, [longer_side(layer.out_size)] * 2
    shapes = [_BATCH.value, *canvas, layer.out_channels], [layer.out_channels], [_BATCH.value, *out, layer.out_channels]
    inputs = [tf.cast(tf.random.normal(shape), dtype) for shape in shapes]
    sides = {impl: Timed(layer, impl, inputs) for impl in impls}
    for _ in range(report.REPEATS.value):
        for side in sides.values():
            side.repeat()
    least = bounds(layer, dtype, peaks)
    row = {**geometry(layer), "peaks": peaks, "binds": least["forward"].binding}
    row["floor_ms"] = {name: max(least[name].floors.values()) * 1e3 for name in PASSES}
    row["call_overhead_ms"] = call_overhead(inputs) * 1e3
    row |= {impl: row_of(side, least) for impl, side in sides.items()}
    if "native" in sides:
        for other in sides.keys() - {"native"}:
            row[f"{other}_over_native"] = {name: row[other][name]["ms"] / row["native"][name]["ms"] for name in PASSES}
        row["goals"] = goals(layer, row)
    return row


def geometry(layer: LayerPlan) -> Row:
    """Return the properties that determine the time."""
    return {
        "in_size": canvas_size(layer),
        "out_size": layer.out_size,
        "channels": layer.out_channels,
        "up": layer.up,
        "down": layer.down,
        "taps": [layer.up_taps, layer.down_taps],
        "radial": layer.use_radial_filters,
        "batch": _BATCH.value,
        "gflop": _BATCH.value * filter_flop(layer) / GIGA,
    }


def row_of(side: Timed, least: dict[str, Bounds]) -> Row:
    """Return the measurements of one backend."""
    times = {name: median(side.times[name]) for name in PASSES}
    return {
        **{name: least[name].row(times[name]) for name in PASSES},
        "backward_rate_over_forward": times["forward"] / times["backward"],
        "first_call_seconds": side.first_seconds,
    }


def call_overhead(inputs: Sequence[tf.Tensor]) -> float:
    """Return the seconds that TensorFlow takes to call a function that does nothing."""
    function = tf.function(lambda x, bias, dy: tf.zeros([]))
    return median([machine.seconds(lambda: function(*inputs)) for _ in range(10)])


def goals(layer: LayerPlan, row: Row) -> Row:
    """Return the goals of the native backend."""
    native = row["native"]
    found = {"backward_rate_over_forward": goal(native["backward_rate_over_forward"], BACKWARD_RATE, at_least=True)}
    if not layer.use_radial_filters:
        share = row["floor_ms"]["forward"] / native["forward"]["ms"]
        found["share_of_what_binds"] = goal(share, SHARE_OF_PEAK[row["binds"]], at_least=True)
    if "xla_over_native" in row and longer_side(layer.out_size) > LARGE:
        worst = min(row["xla_over_native"][name] for name in ("forward", "backward"))
        found["xla_over_native"] = goal(worst, FASTER_THAN_XLA, at_least=True)
    return found


def geometries(layers: Sequence[LayerPlan]) -> list[list[LayerPlan]]:
    """Group layers that take the same time: cutoffs change the taps, not the work."""
    alike: dict[Any, list[LayerPlan]] = {}
    for layer in layers:
        key = (canvas_size(layer), layer.out_size, layer.out_channels, layer.up, layer.down, filter_flop(layer))
        alike.setdefault(key, []).append(layer)
    return list(alike.values())


def summary(rows: Sequence[Row]) -> Row:
    """Count the layers that reach each goal, and find the value farthest from it."""
    found: Row = {}
    for name in sorted({name for row in rows for name in row.get("goals", {})}):
        reached = [row["goals"][name] for row in rows if name in row["goals"]]
        worst = min(one["is"] / one["at_least"] for one in reached)
        found[name] = {"layers": len(reached), "met": sum(map(report.met, reached)), "worst_share_of_goal": worst}
    return found


def results() -> Iterator[Row]:
    networks = [Network.named(name, _CHANNEL_BASE.value, _CHANNEL_MAX.value) for name in _PRESETS.value]
    for network in networks:
        layers = geometries(plan_synthesis(network.generator()).layers)
        for dtype in _DTYPE.value:
            rows = []
            for alike in layers:
                names = [layer.name for layer in alike]
                if _LAYERS.value and not {name.partition("_")[0] for name in names} & set(_LAYERS.value):
                    continue
                small = alike[0].out_size < _XLA_MIN_SIZE.value
                impls = [impl for impl in report.IMPL.value if not (impl == "xla" and small)]
                of = {"network": network.name, "channel_base": network.channel_base, "dtype": dtype, "layers": names}
                rows.append({**of, **measure(alike[0], tf.as_dtype(dtype), impls)})
                yield rows[-1]
            yield {"network": network.name, "dtype": dtype, "goals_met": summary(rows)}


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
