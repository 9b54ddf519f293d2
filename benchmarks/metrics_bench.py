"""Samples per second of metrics and of the generator alone: one JSON line per network, implementation and metric.

python -m benchmarks.metrics_bench --presets=T-64 --impl=native --detector_dir=detectors --out=metrics-cpu.json

- generator: mapping and synthesis, a batch at a time, on existing latents.
- detectors: the detectors of the metric, on existing images.
- metric: everything for a sample: latents, images, conversion to 8 bits, detectors, transfer to the host, moments and
  rows. Metrics joined by + share one pass. The first steps, in which the graph is traced, and the final computation,
  which does not depend on the generator, are excluded. A sample of EQ and PPL is two images.

Overhead is the time of a sample beyond the generator's time for its images, as a share of the latter; overhead beside
detectors is the time beyond both. All of these alternate. They are timed in wall time and in CPU time of all cores,
which does not depend on the load (on a GPU, only wall time counts). Without --detector_dir, stand-ins with the same
layers and random weights are used: VGG16 and LPIPS are the same code at the same cost; Inception is that of
keras.applications, which has the blocks of the published graph.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from numpy.typing import NDArray

from benchmarks import machine, report
from benchmarks.networks import Network
from benchmarks.report import Row, goal
from benchmarks.workers import Worker
from sg3tf import build_generator, latents, ops
from sg3tf.metrics import METRICS, ArrayImages, compute, detectors
from sg3tf.metrics.detectors.lpips import Lpips
from sg3tf.metrics.detectors.lpips import shapes as lpips_shapes
from sg3tf.metrics.detectors.vgg16 import Trunk, Vgg16
from sg3tf.metrics.detectors.vgg16 import shapes as vgg16_shapes
from sg3tf.metrics.evaluate import required_detectors
from sg3tf.metrics.registry import FeatureMetric
from sg3tf.models.configs import ConfigError

MAX_OVERHEAD = 0.2
#: Wall time, and CPU time of all cores.
Seconds = NDArray[np.float64]

NUM_WARM_UP_STEPS = 2
MIN_SAMPLES = 10  # the most that a metric needs, for the inception score
STAND_INS = "stand-ins: VGG16 and LPIPS with random weights, InceptionV3 of keras.applications with random weights"
DEFAULT = [
    "fid50k_full",
    "pr50k3_full",
    "fid50k_full+kid50k_full+is50k+pr50k3_full",
    "ppl2_wend",
    "eqt50k_int",
    "eqr50k",
]


def noise(resolution: int, channels: int) -> ArrayImages:
    """Real images, only as many as metrics need."""
    shape = [8, resolution, resolution, channels]
    return ArrayImages(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


class StandInInception:
    """Inception with random weights: the same number of operations as in the published network."""

    digest = "sha256:random"

    def __init__(self) -> None:
        network = keras.applications.InceptionV3(weights=None, classes=1008, classifier_activation=None)
        layers = [network.get_layer("avg_pool").output, network.output, network.get_layer("mixed6").output]
        self._network = keras.Model(network.input, layers)
        self.outputs = {"pool": 2048, "logits": 1008, "spatial": 17 * 17 * 7}

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.image.resize(tf.cast(images, tf.float32), [299, 299]) / 127.5 - 1
        pool, logits, mixed = self._network(x, training=False)
        return {"pool": pool, "logits": logits, "spatial": tf.reshape(mixed[..., :7], [-1, 17 * 17 * 7])}


@functools.cache
def stand_in(name: str, folder: Path) -> Any:
    """A detector with random weights that takes the same time as the published one."""
    rng = np.random.default_rng(0)
    parameters = {n: 0.01 * rng.standard_normal(shape, np.float32) for n, shape in vgg16_shapes().items()}
    if name == "lpips":
        weights = [np.ones(shape, np.float32).reshape(-1) for shape in lpips_shapes().values()]
        return Lpips(Trunk(parameters), weights, "sha256:random")
    return StandInInception() if name == "inception" else Vgg16(parameters, "sha256:random")


class Timed:
    """Timing of a generator and its metrics.

    Args:
        network, impl: architecture, and backend of the operations.
        batch: samples at a time.
        steps: timed batches.
        detector_dir: published detectors; None: stand-ins.
    """

    def __init__(self, network: Network, impl: str, batch: int, steps: int, detector_dir: str | None) -> None:
        keras.utils.set_random_seed(0)
        self._impl, self._batch, self._steps, self._detector_dir = impl, batch, steps, detector_dir
        self._G = build_generator(network.generator())
        self._z = tf.constant(latents.z_from_seeds(range(batch), self._G.config.z_dim))
        self._generate = tf.function(lambda z: self._G(z))
        self._data = noise(self._G.config.resolution, self._G.config.image_channels)
        self._load: Any = functools.cache(detectors.load) if detector_dir else stand_in

    def generator(self) -> Seconds:
        """Time of the generator per image."""
        with ops.use_backend(self._impl):
            return self._timed(lambda: self._generate(self._z))

    def detectors(self, names: list[str]) -> Seconds:
        """Time of the detectors of metrics, per sample."""
        images = tf.constant(np.resize(self._data[0][0], [self._batch, *self._data[0][0].shape]))
        loaded = {name: self._load(name, Path(self._detector_dir or "")) for name in required_detectors(names)}

        @tf.function(autograph=False)
        def run() -> list[Any]:
            floats = tf.cast(images, tf.float32) / 127.5 - 1
            return [one.distance(floats, -floats) if name == "lpips" else one(images) for name, one in loaded.items()]

        return self._timed(run)

    def metrics(self, names: list[str]) -> Seconds:
        """Time of metrics that share a pass, per sample."""
        stamps: dict[str, list[Seconds]] = {}
        # A pass processes a batch while the next one is generated, so the last batch would seem too fast.
        steps = max(NUM_WARM_UP_STEPS + self._steps + 1, -(-MIN_SAMPLES // self._batch))
        with ops.use_backend(self._impl), mock.patch.object(detectors, "load", self._load):
            compute(
                names,
                self._G,
                self._data,
                detector_dir=self._detector_dir or "stand-ins",
                num_samples=steps * self._batch,
                batch=self._batch,
                progress=lambda task, done, total: stamps.setdefault(task, []).append(_now()),
            )
        (times,) = (times for task, times in stamps.items() if task != "real images")
        return (times[-2] - times[-self._steps - 2]) / (self._steps * self._batch)

    def _timed(self, function: Callable[[], Any]) -> Seconds:
        """Time of a function per sample, where each call processes a batch."""
        function()
        start = _now()
        for _ in range(self._steps):
            machine.seconds(function)
        return (_now() - start) / (self._steps * self._batch)


def _now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


def row_of(network: Network, impl: str, joined: str, batch: int, turns: Sequence[Sequence[Seconds]]) -> Row:
    """Row of results; turns are times of the generator per image, and of detectors and metrics per sample."""
    names = joined.split("+")
    images = 1 if isinstance(METRICS[names[0]].kind, FeatureMetric) else 2
    image, detectors, sample = np.moveaxis(np.array(turns), 1, 0)
    overhead = _clock_and_cores(sample / (images * image) - 1)
    return {
        "network": network.name,
        "channel_base": network.channel_base,
        "channel_max": network.channel_max,
        "impl": impl,
        "metrics": names,
        "batch": batch,
        "images_per_sample": images,
        "samples_per_second": float(1 / np.median(sample[:, 0])),
        "generator_images_per_second": float(1 / np.median(image[:, 0])),
        "overhead": overhead,
        "overhead_beside_detectors": _clock_and_cores(sample / (images * image + detectors) - 1),
        "goals": {f"overhead_{clock}": goal(value, MAX_OVERHEAD) for clock, value in overhead.items()},
    }


def _clock_and_cores(turns: Seconds) -> Row:
    return dict(zip(("clock", "cores"), np.median(turns, axis=0).tolist(), strict=True))


def results() -> Iterator[Row]:
    networks = [Network.named(name, flags.FLAGS.channel_base, flags.FLAGS.channel_max) for name in flags.FLAGS.presets]
    for joined in flags.FLAGS.metrics:
        kinds = {type(METRICS[name].kind) for name in joined.split("+") if name in METRICS}
        if unknown := sorted(set(joined.split("+")) - set(METRICS)):
            raise ConfigError(f"metrics={','.join(unknown)}: known are {', '.join(METRICS)}")
        if "+" in joined and kinds != {FeatureMetric}:
            raise ConfigError(f"metrics={joined}: only metrics that compare features share a pass")
    for network in networks:
        for impl in report.IMPL.value:
            with Worker(Timed, network, impl, flags.FLAGS.batch, flags.FLAGS.steps, flags.FLAGS.detector_dir) as worker:
                for joined in flags.FLAGS.metrics:
                    names = joined.split("+")
                    turns = [
                        (worker.call("generator"), worker.call("detectors", names), worker.call("metrics", names))
                        for _ in range(report.REPEATS.value)
                    ]
                    used = {"detectors": "published" if flags.FLAGS.detector_dir else STAND_INS}
                    yield row_of(network, impl, joined, flags.FLAGS.batch, turns) | used


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


def define_flags() -> None:
    """Define the flags, only if this is the main program: other benchmarks have flags with the same names."""
    flags.DEFINE_list("presets", ["T-64"], "networks")
    flags.DEFINE_list("metrics", DEFAULT, "metrics to time; those joined by + together")
    flags.DEFINE_integer("channel_base", None, "as --cbase of the trainer; default: as published")
    flags.DEFINE_integer("channel_max", 512, "as --cmax of the trainer")
    flags.DEFINE_integer("steps", 6, "timed batches of every turn", lower_bound=1)
    flags.DEFINE_integer("batch", 4, "samples at a time", lower_bound=1)
    flags.DEFINE_string("detector_dir", None, "published detectors; default: stand-ins")


if __name__ == "__main__":
    define_flags()
    app.run(main)
