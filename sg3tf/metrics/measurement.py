"""Computing metrics: those that compare features out of common passes over images, the others one by one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.config import ConfigError
from sg3tf.metrics.cache import Cache
from sg3tf.metrics.checks import check_arguments, detectors_of, load_detectors, warn_of_bias
from sg3tf.metrics.collection import Kept
from sg3tf.metrics.data import Images
from sg3tf.metrics.equivariance import Motion, equivariance
from sg3tf.metrics.passes import VERSIONS, Passes, Progress, of_generated
from sg3tf.metrics.path_length import path_length
from sg3tf.metrics.registry import METRICS, Comparison
from sg3tf.metrics.samples import Labels, Samples, comparison, labels_of
from sg3tf.metrics.so_far import SoFar

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
        progress: Progress | None = None,
    ) -> None:
        self.names, self._G, self._data, self._batch, self._seed = list(names), G, data, batch, seed
        self._num_samples = num_samples
        self._progress: Progress = progress or (lambda *_: None)
        check_arguments(self.names, G.config, data, detector_dir, num_samples, batch, seed)
        self.labels = _checked_labels(labels, G.config, data, seed)
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            self.detectors = load_detectors(self.names, detector_dir)
        warn_of_bias(self.names, self.detectors, data, num_samples)
        self._cache = Cache(None if cache_dir is None else Path(cache_dir))
        self._passes = Passes(self.detectors, self._cache, batch, strategy, self._progress)

    def __iter__(self) -> Iterator[tuple[str, Values]]:
        compared: dict[str, tuple[float, ...]] = {}
        for name in self.names:
            with _full_float32():
                if isinstance(METRICS[name].looks_at, Comparison):
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
        with self._cache.unfinished(described | of_generated(self._G, samples) | VERSIONS) as folder:
            common = (self._G, samples, self._batch, partial(self._progress, name), SoFar(folder))
            if isinstance(looks_at, Motion):
                return equivariance(looks_at, *common)
            return path_length(self.detectors["lpips"].distance, *common, **dataclasses.asdict(looks_at))

    def _compare(self) -> dict[str, tuple[float, ...]]:
        """All metrics that compare features."""
        looks = {name: METRICS[name].looks_at for name in self.names}
        compared = {name: one for name, one in looks.items() if isinstance(one, Comparison)}
        real: dict[str, Kept] = {}
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
