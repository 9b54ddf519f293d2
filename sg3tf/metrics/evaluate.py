"""Evaluation of a generator: argument checks and the computation of metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.metrics import detectors
from sg3tf.metrics.cache import Cache, ProgressFile
from sg3tf.metrics.equivariance import EquivarianceMetric, measure_equivariance
from sg3tf.metrics.feature_stats import MOMENTS, FeatureStats
from sg3tf.metrics.features import VERSIONS, FeatureExtractor, ProgressCallback, generated_cache_key
from sg3tf.metrics.ppl import path_length
from sg3tf.metrics.registry import METRICS, FeatureMetric, Metric, PathLengthMetric
from sg3tf.metrics.samples import Images, Labels, Samples, comparison, labels_of
from sg3tf.models.configs import ConfigError

# ---------------------------------------------------------------------------------------------------------------------
# What metrics refuse before anything runs, each in one line with the remedy; and what they only warn of.
# ---------------------------------------------------------------------------------------------------------------------

SMALLEST = 16  # side of images that LPIPS compares

_logger = logging.getLogger(__name__)


def check(
    names: Sequence[str],
    G_config: Any,
    data: Images | None = None,
    *,
    detector_dir: str | Path | None = None,
    num_samples: int | None = None,
    batch: int = 8,
    seed: int = 0,
) -> None:
    """Refuses what `compute` would refuse; arguments as there, but for the generator's configuration.

    Raises:
        ConfigError: unknown name, a generator without that metric, data that do not fit, or an argument out of range.
        DetectorError: a file is not in detector_dir, or a wrong one.
    """
    check_arguments(names, G_config, data, detector_dir, num_samples, batch, seed)
    load_detectors(names, detector_dir)


def check_arguments(
    names: Sequence[str],
    G_config: Any,
    data: Images | None,
    detector_dir: str | Path | None,
    num_samples: int | None,
    batch: int,
    seed: int,
) -> None:
    """All of `check` but the detectors' files, which take their time."""
    for argument, value in (("num_samples", num_samples), ("batch", batch)):
        if value is not None and value < 1:
            raise ConfigError(f"{argument}={value}: must be at least 1")
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed={seed}: must be from 0 to 2**64 - 1")
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metrics={name!r}: known are {', '.join(METRICS)}")
    if data is not None:
        _check_data(data, G_config)
    for name in names:
        _check_metric(name, METRICS[name], G_config, data, num_samples)
        if detectors_of([name]) and detector_dir is None:
            raise ConfigError(
                f"metrics={name!r}: looks at images with a network; give detector_dir, where its files are"
            )


def detectors_of(names: Sequence[str]) -> list[str]:
    """The detectors that metrics look with."""
    looks = [METRICS[name].looks_at for name in names]
    found = {
        one.detector if isinstance(one, FeatureMetric) else "lpips"
        for one in looks
        if not isinstance(one, EquivarianceMetric)
    }
    return sorted(found)


def load_detectors(names: Sequence[str], folder: str | Path | None) -> dict[str, Any]:
    """The detectors of metrics, by name."""
    return {name: detectors.load(name, Path(str(folder))) for name in detectors_of(names)}


def warn_of_bias(names: Sequence[str], loaded: Mapping[str, Any], data: Images | None, num_samples: int | None) -> None:
    """Where covariances are of fewer images than features."""
    for name in names:
        one = METRICS[name].looks_at
        if not isinstance(one, FeatureMetric) or one.kind != MOMENTS or data is None:
            continue
        images, features = min(_counts(METRICS[name], one, data, num_samples)), loaded[one.detector].outputs[one.output]
        if images < features:
            _logger.warning(
                "%s: %d images are fewer than their %d features, which makes the value too large; "
                "compare it with those of as many images only",
                *(name, images, features),
            )


def _check_data(data: Images, G_config: Any) -> None:
    ours, theirs = G_config.resolution, data.resolution
    if ours != theirs:
        raise ConfigError(
            f"data={data.path}: images of {theirs}x{theirs}, but the generator's are {ours}x{ours}; "
            f"build them with python -m sg3tf.data.build --resolution={ours}"
        )
    if G_config.image_channels != data.channels:
        raise ConfigError(
            f"data={data.path}: {data.channels} channels, but the generator's images have {G_config.image_channels}; "
            f"build them with python -m sg3tf.data.build --channels={G_config.image_channels}"
        )
    if G_config.label_dim and data.label_dim != G_config.label_dim:
        raise ConfigError(
            f"data={data.path}: label_dim={data.label_dim}, but the generator's is {G_config.label_dim}; "
            "give the data that it was trained on, with their labels"
        )


def _check_metric(name: str, metric: Metric, G_config: Any, data: Images | None, num_samples: int | None) -> None:
    one = metric.looks_at
    if isinstance(one, EquivarianceMetric):
        if not G_config.fourier_input:
            kind = type(G_config).__name__
            raise ConfigError(f"metrics={name!r}: images of this {kind} cannot be moved; use one with fourier_input")
        return
    if G_config.image_channels not in (1, 3):
        raise ConfigError(f"metrics={name!r}: takes grey or RGB images, not {G_config.image_channels} channels")
    if isinstance(one, PathLengthMetric):
        side = G_config.resolution // (2 if one.crop else 1)
        if side < SMALLEST:
            raise ConfigError(
                f"metrics={name!r}: compares {side}x{side} pixels here, needs {SMALLEST}x{SMALLEST} at least"
            )
        return
    if one.max_real and data is None:
        raise ConfigError(f"metrics={name!r}: compares with real images; give data, a data set")
    fewest = min(_counts(metric, one, data, num_samples))
    if fewest < one.least:
        raise ConfigError(f"metrics={name!r}: needs {one.least} images at least, real and generated, not {fewest}")


def _counts(metric: Metric, one: FeatureMetric, data: Images | None, num_samples: int | None) -> list[int]:
    """Of generated images, and of real ones where they are wanted."""
    return [num_samples or metric.num_samples] + (
        [min(len(data), one.max_real)] if data is not None and one.max_real else []
    )


# ---------------------------------------------------------------------------------------------------------------------
# Computing metrics: those that compare features out of common passes over images, the others one by one.
# ---------------------------------------------------------------------------------------------------------------------

Values = dict[str, float]


def compute(names: Iterable[str], G: Any, data: Images | None = None, **options: Any) -> Values:
    """{result: value}, in the order of `names`; arguments and errors as of Measurement."""
    return {result: value for _, values in Measurement(names, G, data, **options) for result, value in values.items()}


class Measurement:
    """Metrics of one generator; iterating gives a metric's name and {result: value}, each when it is there.

    Values depend on `seed` and `num_samples`, and on `batch` and `strategy` only by rounding.

    Args:
        names: keys of METRICS.
        G: the generator, made in the strategy's scope.
        data: real images, for metrics that look at them, and labels for a generator with labels.
        detector_dir: folder with the files of detectors, for metrics that look with them.
        cache_dir: where features of data stay, and what an interrupted pass over images goes on from; default: nowhere.
        num_samples: generated images, or pairs of them; default: what published values were computed with.
        batch: images at a time, on each replica.
        seed: of latents, labels, motions and subsets, 0 to 2**64 - 1.
        labels: of generated images; default: drawn from those of the data.
        strategy: replicas that make features; all else the first device does. Default: the current one.
        progress: called after every batch with what is done, how much of it, and how much there is in all.

    Attributes:
        names: as given.
        detectors: by name.
        labels: as given, or of the data; None without.

    Raises:
        ConfigError: as `check`; or labels that are missing, or given to a generator without.
        DetectorError: as `check`.
        FloatingPointError: images or features that are not finite.
    """

    def __init__(
        self,
        names: Iterable[str],
        G: Any,
        data: Images | None = None,
        *,
        detector_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
        num_samples: int | None = None,
        batch: int = 8,
        seed: int = 0,
        labels: Labels | None = None,
        strategy: tf.distribute.Strategy | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.names, self._G, self._data, self._batch, self._seed = list(names), G, data, batch, seed
        self._num_samples = num_samples
        self._progress: ProgressCallback = progress or (lambda *_: None)
        check_arguments(self.names, G.config, data, detector_dir, num_samples, batch, seed)
        self.labels = _checked_labels(labels, G.config, data, seed)
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            self.detectors = load_detectors(self.names, detector_dir)
        warn_of_bias(self.names, self.detectors, data, num_samples)
        self._cache = Cache(None if cache_dir is None else Path(cache_dir))
        self._passes = FeatureExtractor(self.detectors, self._cache, batch, strategy, self._progress)

    def __iter__(self) -> Iterator[tuple[str, Values]]:
        compared: dict[str, tuple[float, ...]] = {}
        for name in self.names:
            with _full_float32():
                if isinstance(METRICS[name].looks_at, FeatureMetric):
                    compared = compared or self._compare()
                    values = compared[name]
                else:
                    values = (self._alone(name),)
            yield name, dict(zip(METRICS[name].results, values, strict=True))

    def _alone(self, name: str) -> float:
        """A metric that generates its own images."""
        looks_at, samples = METRICS[name].looks_at, self._samples(name)
        used = {detector: self.detectors[detector].digest for detector in detectors_of([name])}
        described = {"metric": name, "num_samples": samples.count, "batch": self._batch, "detectors": used}
        with self._cache.unfinished(described | generated_cache_key(self._G, samples) | VERSIONS) as folder:
            common = (self._G, samples, self._batch, partial(self._progress, name), ProgressFile(folder))
            if isinstance(looks_at, EquivarianceMetric):
                return measure_equivariance(looks_at, *common)
            return path_length(self.detectors["lpips"].distance, *common, **dataclasses.asdict(looks_at))

    def _compare(self) -> dict[str, tuple[float, ...]]:
        """All metrics that compare features."""
        looks = {name: METRICS[name].looks_at for name in self.names}
        compared = {name: one for name, one in looks.items() if isinstance(one, FeatureMetric)}
        real: dict[str, FeatureStats] = {}
        if self._data is not None:
            size = len(self._data)
            of_real = {name: one.wanted(min(size, one.max_real)) for name, one in compared.items() if one.max_real}
            kept = self._passes.real(self._data, set(of_real.values()))
            real = {name: kept[w] for name, w in of_real.items()}
        of_fake = {name: one.wanted(self._samples(name).count) for name, one in compared.items()}
        with self._passes.generated(self._G, self._samples(next(iter(compared))), set(of_fake.values())) as fake:
            return {
                name: one.values(real.get(name), fake[of_fake[name]], comparison(self._seed))
                for name, one in compared.items()
            }

    def _samples(self, name: str) -> Samples:
        count = self._num_samples or METRICS[name].num_samples
        return Samples(count, self._G.config.z_dim, self._seed, self.labels)


def _checked_labels(labels: Labels | None, G_config: Any, data: Images | None, seed: int) -> Labels | None:
    dim = G_config.label_dim
    if labels is not None and not dim:
        raise ConfigError(f"labels={labels}: leave it out, as this generator has label_dim=0")
    if labels is None and dim and data is None:
        raise ConfigError(f"labels=None: give it, or data with labels, as this generator has label_dim={dim}")
    return labels_of(data, seed) if labels is None and dim and data is not None else labels


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Without TensorFloat-32: ten bits of mantissa are too few for differences of 1e-4."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
