"""Evaluate a generator: check the arguments, and compute metrics."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.metrics import detectors
from sg3tf.metrics.cache import Cache, ProgressFile
from sg3tf.metrics.detectors import files as detector_files
from sg3tf.metrics.equivariance import EquivarianceMetric, measure_equivariance
from sg3tf.metrics.feature_stats import MOMENTS, FeatureRequest, FeatureStats
from sg3tf.metrics.features import VERSIONS, FeatureExtractor, ProgressCallback, generated_cache_key
from sg3tf.metrics.ppl import PathLengthMetric, measure_path_length
from sg3tf.metrics.registry import METRICS, FeatureMetric, Metric
from sg3tf.metrics.samples import Images, Labels, Samples, comparison_rng, labels_from_data, open_data
from sg3tf.models.configs import ConfigError
from sg3tf.ops.backend import full_float32
from sg3tf.utils.resolution import Resolution, size_of

MIN_LPIPS_SIZE = 16  # side of the compared images

#: A data set, or its path.
Data = Images | str | os.PathLike[str]

_logger = logging.getLogger(__name__)


# --- Checks of the arguments ------------------------------------------------------------------------------------------


def check(
    names: Sequence[str],
    config: Any,
    data: Data | None = None,
    *,
    detector_dir: str | os.PathLike[str] | None = None,
    num_samples: int | None = None,
) -> None:
    """Check the arguments as `compute` does before generating images; `config` is the generator's configuration.

    Raises:
        ConfigError: unknown name, unsupported metric for this generator, incompatible data, or argument out of range.
        DetectorError: a file in detector_dir is missing, or belongs to another network.
    """
    names = _listed(names)
    _check_arguments(names, config, _open(data, config), detector_dir, num_samples)
    load_detectors(names, detector_dir, config.resolution)


def required_detectors(names: Iterable[str]) -> list[str]:
    """Names of the detectors that the metrics use."""
    required = set()
    for name in names:
        kind = METRICS[name].kind
        if isinstance(kind, FeatureMetric):
            required.add(kind.detector)
        elif isinstance(kind, PathLengthMetric):
            required.add("lpips")
    return sorted(required)


def load_detectors(
    names: Iterable[str], detector_dir: str | os.PathLike[str] | None, resolution: Resolution
) -> dict[str, Any]:
    """Load the detectors that the metrics use, by name; detector_dir may be None if all are built in."""
    required, folder = required_detectors(names), Path(str(detector_dir))
    try:
        return {
            name: detectors.BUILT_IN[name](resolution) if name in detectors.BUILT_IN else detectors.load(name, folder)
            for name in required
        }
    except detectors.DetectorError:
        detector_files.check_files(folder, detectors.published_files(required))  # one error for all missing files
        raise


def _listed(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):  # whose letters are no metrics
        raise ConfigError(f"metrics={names!r}: give a list, such as [{names!r}]")
    return list(names)


def _open(data: Data | None, config: Any) -> Images | None:
    if isinstance(data, str | os.PathLike):
        return open_data(data, resolution=config.resolution, labels=config.label_dim > 0)
    return data


def _check_arguments(
    names: Sequence[str],
    config: Any,
    data: Images | None,
    detector_dir: str | os.PathLike[str] | None,
    num_samples: int | None,
) -> None:
    """Check everything except the detectors' files, which is slow."""
    if num_samples is not None and num_samples < 1:
        raise ConfigError(f"num_samples={num_samples}: must be at least 1")
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metrics={name!r}: known are {', '.join(METRICS)}")
    if data is not None:
        _check_data(data, config)
    for name in names:
        _check_metric(name, METRICS[name], config, data, num_samples)
    if detector_dir is None:
        _check_built_in(names)


def _check_built_in(names: Sequence[str]) -> None:
    """Reject metrics whose detectors need files."""
    lacking = [name for name in names if detectors.published_files(required_detectors([name]))]
    if lacking:
        files = detectors.published_files(required_detectors(lacking))
        raise ConfigError(
            f"metrics={','.join(lacking)!r}: give detector_dir, a folder with {detector_files.names(files)}: "
            f"{detector_files.sources(files)}; nothing is downloaded"
        )


def _check_data(data: Images, config: Any) -> None:
    size, data_size = config.resolution, data.resolution
    if size != data_size:
        raise ConfigError(
            f"data={data.path}: images of {size_of(data_size)}, but the generator's are {size_of(size)}; "
            f"build them with sg3tf data build --resolution={size}"
        )
    if config.image_channels != data.channels:
        raise ConfigError(
            f"data={data.path}: {data.channels} channels, but the generator's images have {config.image_channels}; "
            f"build them with sg3tf data build --channels={config.image_channels}"
        )
    if config.label_dim and data.label_dim != config.label_dim:
        raise ConfigError(
            f"data={data.path}: label_dim={data.label_dim}, but the generator's is {config.label_dim}; "
            "give the data that it was trained on, with their labels"
        )


def _check_metric(name: str, metric: Metric, config: Any, data: Images | None, num_samples: int | None) -> None:
    kind = metric.kind
    size, smallest = size_of(config.resolution), _smallest_side(kind)
    if size.shorter < smallest:
        raise ConfigError(
            f"metrics={name!r}: needs images of {smallest}x{smallest} at least, the generator's are {size}; "
            "leave it out, or use a generator of higher resolution"
        )
    if isinstance(kind, EquivarianceMetric):
        if not config.supports_transform:
            raise ConfigError(
                f"metrics={name!r}: images of this {type(config).__name__} cannot be transformed; "
                "use a generator with fourier_input"
            )
        return
    if config.image_channels not in (1, 3):
        raise ConfigError(f"metrics={name!r}: takes gray or RGB images, not {config.image_channels} channels")
    if isinstance(kind, PathLengthMetric):
        return
    if kind.max_real and data is None:
        raise ConfigError(f"metrics={name!r}: compares with real images; give data, a data set")
    num_images = min(_image_counts(metric, kind, data, num_samples))
    if num_images < kind.min_images:
        raise ConfigError(
            f"metrics={name!r}: needs {kind.min_images} images at least, real and generated, not {num_images}"
        )


def _smallest_side(kind: EquivarianceMetric | PathLengthMetric | FeatureMetric) -> int:
    """Smallest image side for which a metric is defined, in pixels."""
    if isinstance(kind, EquivarianceMetric):
        return kind.min_side
    if isinstance(kind, PathLengthMetric):
        return MIN_LPIPS_SIZE << int(kind.crop)
    return detectors.BUILT_IN[kind.detector].min_side if kind.detector in detectors.BUILT_IN else 1


def _image_counts(metric: Metric, kind: FeatureMetric, data: Images | None, num_samples: int | None) -> list[int]:
    """Number of generated images and, if used, of real images."""
    count = num_samples or metric.num_samples
    if data is None or not kind.max_real:
        return [count]
    if kind.match_num_real:
        return [min(count, len(data))] * 2
    return [count, min(len(data), kind.max_real)]


# --- Computation ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MetricResult:
    """Values of one metric.

    Attributes:
        metric: key of METRICS.
        values: value of each result; METRICS[metric].results says whether higher is better.
        unit: unit of the values, or None.
        num_samples: number of generated images, or of pairs.
        num_real: number of real images; 0 if the metric does not use any.

    Examples:
        >>> result = MetricResult("eqr50k", {"eqr50k": 40.5}, unit="dB", num_samples=50_000, num_real=0)
        >>> print(f"{result.metric}: {result.values['eqr50k']} {result.unit}")
        eqr50k: 40.5 dB
    """

    metric: str
    values: dict[str, float]
    unit: str | None
    num_samples: int
    num_real: int


def compute(
    names: Iterable[str],
    G: Any,
    data: Data | None = None,
    *,
    detector_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    num_samples: int | None = None,
    batch: int = 8,
    seed: int = 0,
    labels: Labels | None = None,
    strategy: tf.distribute.Strategy | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Compute metrics of a generator.

    Values depend on `seed` and `num_samples`; `batch` and `strategy` affect only rounding. Metrics that compare
    features share one pass over the real images and one over the generated images.

    Args:
        names: keys of METRICS.
        G: the generator, created in the strategy's scope.
        data: real images, for metrics that compare with them, and labels for a conditional generator: an
            sg3tf.data.dataset.Dataset, its path, or ArrayImages.
        detector_dir: folder with detector files, for metrics that need them (docs/detectors.md).
        cache_dir: folder for data set statistics and for interrupted passes, which resume; None to keep nothing.
        num_samples: number of generated images, or of pairs; None for 50,000, as for published values.
        batch: images per batch on each replica.
        seed: seed of latents, labels, transforms and subsets, 0 to 2**64 - 1.
        labels: labels of generated images; None for the labels of randomly chosen images of the data.
        strategy: replicas that compute features; everything else runs on the first device. None for the current one.
        progress: called after every batch with (task, number done, total number).

    Returns:
        {result: value}, in the order of `names`.

    Raises:
        ConfigError: as from `check`; or labels are missing, no Labels, or given for an unconditional generator.
        DetectorError: as from `check`.
        FloatingPointError: images or features are not finite.

    Examples:
        >>> import sg3tf
        >>> from sg3tf import metrics
        >>> G = sg3tf.Generator.from_preset("stylegan3-t", resolution=32, channel_base=512, channel_max=16)
        >>> values = metrics.compute(["eqt50k_int", "eqr50k"], G, num_samples=2)
        >>> sorted(values)
        ['eqr50k', 'eqt50k_int']
    """
    evaluation = Evaluation(
        names,
        G,
        data,
        detector_dir=detector_dir,
        cache_dir=cache_dir,
        num_samples=num_samples,
        batch=batch,
        seed=seed,
        labels=labels,
        strategy=strategy,
        progress=progress,
    )
    values: dict[str, float] = {}
    for result in evaluation:
        values |= result.values
    return values


class Evaluation:
    """Iterable that computes metrics of a generator one by one, and yields a MetricResult for each.

    Arguments and errors are those of `compute`.

    Attributes:
        names: the metrics to compute.
        data: the real images, opened if a path was given, or None.
        detectors: detectors by name.
        labels: the given labels or those of the data, or None.

    Examples:
        >>> import sg3tf
        >>> from sg3tf import metrics
        >>> G = sg3tf.Generator.from_preset("stylegan3-t", resolution=32, channel_base=512, channel_max=16)
        >>> for result in metrics.Evaluation(["eqt50k_int", "eqr50k"], G, num_samples=2):
        ...     print(result.metric, result.num_samples, result.unit)
        eqt50k_int 2 dB
        eqr50k 2 dB
    """

    def __init__(
        self,
        names: Iterable[str],
        G: Any,
        data: Data | None = None,
        *,
        detector_dir: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        num_samples: int | None = None,
        batch: int = 8,
        seed: int = 0,
        labels: Labels | None = None,
        strategy: tf.distribute.Strategy | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.names, self._G, self.data = _listed(names), G, _open(data, G.config)
        self._num_samples, self._batch, self._seed = num_samples, batch, seed
        self._progress: ProgressCallback = progress or (lambda task, done, total: None)
        if batch < 1:
            raise ConfigError(f"batch={batch}: must be at least 1")
        if not 0 <= seed < 2**64:
            raise ConfigError(f"seed={seed}: must be from 0 to 2**64 - 1")
        _check_arguments(self.names, G.config, self.data, detector_dir, num_samples)
        self.labels = _resolve_labels(labels, G.config, self.data, seed)
        self._strategy = strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            self.detectors = load_detectors(self.names, detector_dir, G.config.resolution)
        self._warn_of_bias()
        self._cache = Cache(None if cache_dir is None else Path(cache_dir))
        self._extractor = FeatureExtractor(self.detectors, self._cache, batch, strategy, self._progress)

    def __iter__(self) -> Iterator[MetricResult]:
        feature_values: dict[str, tuple[float, ...]] = {}
        for name in self.names:
            metric = METRICS[name]
            with full_float32():
                if isinstance(metric.kind, FeatureMetric):
                    feature_values = feature_values or self._run_feature_metrics()
                    values = feature_values[name]
                else:
                    values = (self._run_generating_metric(name, metric.kind),)
            yield MetricResult(
                metric=name,
                values=dict(zip(metric.results, values, strict=True)),
                unit=metric.unit,
                num_samples=self._samples(name).count,
                num_real=self._num_real(name, metric.kind) if isinstance(metric.kind, FeatureMetric) else 0,
            )

    def _run_generating_metric(self, name: str, kind: EquivarianceMetric | PathLengthMetric) -> float:
        """Compute a metric that generates its own images."""
        samples = self._samples(name)
        cache_key_fields = {
            "metric": name,
            "num_samples": samples.count,
            "batch": self._batch,
            "replicas": self._strategy.num_replicas_in_sync,
            "detectors": {detector: self.detectors[detector].digest for detector in required_detectors([name])},
            **generated_cache_key(self._G, samples),
            **VERSIONS,
        }
        waiting = partial(self._progress, "waiting for another process", 0, samples.count)
        with self._cache.unfinished(cache_key_fields, waiting) as folder:
            options: dict[str, Any] = {
                "batch": self._batch,
                "strategy": self._strategy,
                "progress": partial(self._progress, name),
                "progress_file": ProgressFile(folder),
            }
            if isinstance(kind, EquivarianceMetric):
                return measure_equivariance(kind, self._G, samples, **options)
            return measure_path_length(kind, self.detectors["lpips"].distance, self._G, samples, **options)

    def _run_feature_metrics(self) -> dict[str, tuple[float, ...]]:
        """Compute all metrics that compare features."""
        kinds = {name: METRICS[name].kind for name in self.names}
        feature_metrics = {name: kind for name, kind in kinds.items() if isinstance(kind, FeatureMetric)}
        real = {} if self.data is None else self._real_stats(self.data, feature_metrics)
        fake_requests = {name: kind.request(self._samples(name).count) for name, kind in feature_metrics.items()}
        samples = self._samples(next(iter(feature_metrics)))
        with self._extractor.generated(self._G, samples, set(fake_requests.values())) as fake:
            return {
                name: kind.compute(real.get(name), fake[fake_requests[name]], comparison_rng(self._seed))
                for name, kind in feature_metrics.items()
            }

    def _real_stats(self, data: Images, feature_metrics: Mapping[str, FeatureMetric]) -> dict[str, FeatureStats]:
        """Statistics of real images for each metric, in one pass for metrics that share the images."""
        by_count: dict[int | None, dict[str, FeatureRequest]] = {}  # None: the first images
        for name, kind in feature_metrics.items():
            if kind.max_real:
                count = self._num_real(name, kind)
                by_count.setdefault(count if kind.match_num_real else None, {})[name] = kind.request(count)
        real: dict[str, FeatureStats] = {}
        for matched, requests in by_count.items():
            images = data if matched is None else data.subsample(matched)
            stats = self._extractor.real(images, set(requests.values()))
            real |= {name: stats[request] for name, request in requests.items()}
        return real

    def _num_real(self, name: str, kind: FeatureMetric) -> int:
        """Number of real images that a metric compares with, or 0."""
        counts = _image_counts(METRICS[name], kind, self.data, self._num_samples)
        return counts[1] if len(counts) > 1 else 0

    def _samples(self, name: str) -> Samples:
        metric = METRICS[name]
        count = self._num_samples or metric.num_samples
        if isinstance(metric.kind, FeatureMetric):
            count = _image_counts(metric, metric.kind, self.data, self._num_samples)[0]
        return Samples(count, self._G.config.z_dim, self._seed, self.labels)

    def _warn_of_bias(self) -> None:
        """Warn about covariances estimated from fewer images than features."""
        for name in self.names:
            metric = METRICS[name]
            kind = metric.kind
            if not isinstance(kind, FeatureMetric) or kind.statistic != MOMENTS or self.data is None:
                continue
            num_images = min(_image_counts(metric, kind, self.data, self._num_samples))
            num_features = self.detectors[kind.detector].outputs[kind.output]
            if num_images < num_features:
                _logger.warning(
                    "%s: %d images are fewer than the %d features, which makes the value too large; "
                    "compare it only with values for the same number of images",
                    name,
                    num_images,
                    num_features,
                )


def _resolve_labels(labels: Labels | None, config: Any, data: Images | None, seed: int) -> Labels | None:
    if not config.label_dim:
        if labels is not None:
            raise ConfigError(f"labels={labels}: leave it out, as this generator has label_dim=0")
        return None
    if labels is not None:
        if not isinstance(labels, Labels):
            raise ConfigError(f"labels={labels!r}: give sg3tf.metrics.Labels(description, function)")
        return labels
    if data is None:
        raise ConfigError(
            f"labels=None: give it, or data with labels, as this generator has label_dim={config.label_dim}"
        )
    return labels_from_data(data, seed)
