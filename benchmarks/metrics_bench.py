"""Samples per second of metrics, beside the generator alone: one JSON line per network, implementation and metric.

python -m benchmarks.metrics_bench --presets=T-64 --impl=native --detector_dir=detectors --out=metrics-cpu.json

- generator: mapping and synthesis, a batch at a time, on latents that are there.
- detectors: the networks that the metric looks with, on images that are there.
- metric: everything that a sample takes: latents, images, 8 bits, detectors, the way to the host, moments and rows.
  Those joined by + come out of one pass. The first steps, in which the graph is traced, are left out, and so are the
  values at the end, which do not depend on the generator. A sample of EQ and PPL is two images.

Overhead is what a sample takes beyond the generator's time for its images, as a share of that; overhead beside
detectors is what it takes beyond both. All take turns, and are timed by the clock and by the time of all cores, which
says the same where others use the machine (of a GPU only the clock does). Without --detector_dir, stand-ins of the same
layers with random weights look at the images: VGG16 and LPIPS are then the same code at the same cost; Inception is
that of keras.applications, which has the blocks of the published graph.
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
from sg3tf.metrics import METRICS, compute, detectors
from sg3tf.metrics.detectors.lpips import Lpips
from sg3tf.metrics.detectors.lpips import shapes as lpips_shapes
from sg3tf.metrics.detectors.vgg16 import Trunk, Vgg16
from sg3tf.metrics.detectors.vgg16 import shapes as vgg16_shapes
from sg3tf.metrics.evaluate import required_detectors
from sg3tf.metrics.registry import FeatureMetric
from sg3tf.models.configs import ConfigError

MOST_OVERHEAD = 0.2
#: By the clock, and of all cores together.
Seconds = NDArray[np.float64]

STEPS_TO_WARM_UP = 2
MOST_LEAST = 10  # samples that a metric needs at least, for the inception score
STAND_INS = "stand-ins: VGG16 and LPIPS with random weights, InceptionV3 of keras.applications with random weights"
DEFAULT = [
    "fid50k_full",
    "pr50k3_full",
    "fid50k_full+kid50k_full+is50k+pr50k3_full",
    "ppl2_wend",
    "eqt50k_int",
    "eqr50k",
]


class Noise:
    """A data set in memory, of as few images as metrics need."""

    digest = part = "sha256:noise"
    label_dim, path = 0, Path("noise")

    def __init__(self, resolution: int, channels: int) -> None:
        self.resolution, self.channels = resolution, channels
        shape = [8, resolution, resolution, channels]
        self._images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return self._images[i], self.label(i)

    def label(self, i: int) -> NDArray[np.float32]:
        return np.zeros(0, np.float32)


class StandInInception:
    """As many operations on as many numbers as the published network."""

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
    """A detector that costs what the published one does, and says nothing about images."""
    rng = np.random.default_rng(0)
    parameters = {n: 0.01 * rng.standard_normal(shape, np.float32) for n, shape in vgg16_shapes().items()}
    if name == "lpips":
        weights = [np.ones(shape, np.float32).reshape(-1) for shape in lpips_shapes().values()]
        return Lpips(Trunk(parameters), weights, "sha256:random")
    return StandInInception() if name == "inception" else Vgg16(parameters, "sha256:random")


class Timed:
    """A generator, and metrics of it.

    Args:
        network, impl: which.
        batch: samples at a time.
        steps: timed batches.
        detector_dir: published detectors; None: stand-ins.
    """

    def __init__(self, network: Network, impl: str, batch: int, steps: int, detector_dir: str | None) -> None:
        keras.utils.set_random_seed(0)
        self._impl, self._batch, self._steps, self._detector_dir = impl, batch, steps, detector_dir
        self._G = build_generator(network.generator())
        self._z = tf.constant(latents.z_from_seeds(range(batch), self._G.config.z_dim))
        self._whole = tf.function(lambda z: self._G(z))
        self._data = Noise(self._G.config.resolution, self._G.config.image_channels)
        self._load: Any = functools.cache(detectors.load) if detector_dir else stand_in

    def generator(self) -> Seconds:
        """Per image."""
        with ops.use_backend(self._impl):
            return self._timed(lambda: self._whole(self._z))

    def detectors(self, names: list[str]) -> Seconds:
        """Of the networks that metrics look with, per sample."""
        images = tf.constant(np.resize(self._data[0][0], [self._batch, *self._data[0][0].shape]))
        loaded = {name: self._load(name, Path(self._detector_dir or "")) for name in required_detectors(names)}

        @tf.function(autograph=False)
        def look() -> list[Any]:
            floats = tf.cast(images, tf.float32) / 127.5 - 1
            return [one.distance(floats, -floats) if name == "lpips" else one(images) for name, one in loaded.items()]

        return self._timed(look)

    def metrics(self, names: list[str]) -> Seconds:
        """Per sample."""
        stamps: dict[str, list[Seconds]] = {}
        # A pass looks at a batch while the next one is made: behind the last there is none, which would seem quick.
        steps = max(STEPS_TO_WARM_UP + self._steps + 1, -(-MOST_LEAST // self._batch))
        with ops.use_backend(self._impl), mock.patch.object(detectors, "load", self._load):
            compute(
                names,
                self._G,
                self._data,
                detector_dir=self._detector_dir or "stand-ins",
                num_samples=steps * self._batch,
                batch=self._batch,
                progress=lambda what, done, _: stamps.setdefault(what, []).append(_now()),
            )
        (of_samples,) = (times for what, times in stamps.items() if what != "real images")
        return (of_samples[-2] - of_samples[-self._steps - 2]) / (self._steps * self._batch)

    def _timed(self, function: Callable[[], Any]) -> Seconds:
        """Of a function that makes a batch, for one of it."""
        function()
        start = _now()
        for _ in range(self._steps):
            machine.seconds(function)
        return (_now() - start) / (self._steps * self._batch)


def _now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


def row_of(network: Network, impl: str, joined: str, batch: int, turns: Sequence[Sequence[Seconds]]) -> Row:
    """What was measured; turns have seconds per image of the generator, per sample of detectors and of metrics."""
    names = joined.split("+")
    images = 1 if isinstance(METRICS[names[0]].kind, FeatureMetric) else 2
    image, look, sample = np.moveaxis(np.array(turns), 1, 0)
    overhead = _by_way(sample / (images * image) - 1)
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
        "overhead_beside_detectors": _by_way(sample / (images * image + look) - 1),
        "goals": {f"overhead_{way}": goal(value, MOST_OVERHEAD) for way, value in overhead.items()},
    }


def _by_way(turns: Seconds) -> Row:
    return dict(zip(("clock", "cores"), np.median(turns, axis=0).tolist(), strict=True))


def results() -> Iterator[Row]:
    networks = [Network.named(name, flags.FLAGS.channel_base, flags.FLAGS.channel_max) for name in flags.FLAGS.presets]
    for joined in flags.FLAGS.metrics:
        kinds = {type(METRICS[name].kind) for name in joined.split("+") if name in METRICS}
        if unknown := sorted(set(joined.split("+")) - set(METRICS)):
            raise ConfigError(f"metrics={','.join(unknown)}: known are {', '.join(METRICS)}")
        if "+" in joined and kinds != {FeatureMetric}:
            raise ConfigError(f"metrics={joined}: only those come out of one pass that compare features")
    for network in networks:
        for impl in report.IMPL.value:
            with Worker(Timed, network, impl, flags.FLAGS.batch, flags.FLAGS.steps, flags.FLAGS.detector_dir) as worker:
                for joined in flags.FLAGS.metrics:
                    names = joined.split("+")
                    turns = [
                        (worker.call("generator"), worker.call("detectors", names), worker.call("metrics", names))
                        for _ in range(report.REPEATS.value)
                    ]
                    looked_with = {"detectors": "published" if flags.FLAGS.detector_dir else STAND_INS}
                    yield row_of(network, impl, joined, flags.FLAGS.batch, turns) | looked_with


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


def define_flags() -> None:
    """Only where this is the program: other benchmarks have flags of the same names."""
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
