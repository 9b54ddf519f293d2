"""Registry of metrics by name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sg3tf.metrics.detectors.scattering import SMALLEST_DEVIATIONS
from sg3tf.metrics.equivariance import (
    MIN_SIDE_ROTATED,
    EquivarianceMetric,
    compare_rotated,
    compare_translated,
    sample_fractional_translation,
    sample_integer_translation,
    sample_rotation,
)
from sg3tf.metrics.feature_stats import MOMENTS, ROWS, FeatureRequest
from sg3tf.metrics.fid import frechet_distance
from sg3tf.metrics.inception_score import SPLITS, inception_score
from sg3tf.metrics.kid import kernel_distance, standardized_kernel_distance
from sg3tf.metrics.ppl import PathLengthMetric
from sg3tf.metrics.precision_recall import density_coverage, precision_recall
from sg3tf.metrics.swd import sliced_wasserstein_distance

ALL = sys.maxsize

#: Whether higher values are better, lower ones, or neither.
HIGHER, LOWER, NEITHER = True, False, None


@dataclasses.dataclass(frozen=True)
class FeatureMetric:
    """A metric on features of generated images and, unless `max_real` is 0, of real images.

    Attributes:
        detector, output, statistic: features and their statistic, as in FeatureRequest.
        compute: (statistic of real images or None, statistic of generated images, rng) -> values.
        max_real: maximum number of real images, taken from the start; ALL for all.
        min_images: minimum number of images, both real and generated.
        match_num_real: use as many real images as generated ones, spread over the data, instead of the first ones, and
            generate at most as many as there are.

    Examples:
        >>> METRICS["fid50k_full"].kind.request(70_000)
        FeatureRequest(detector='inception', output='pool', statistic='moments', count=70000)
    """

    detector: str
    output: str
    statistic: str
    compute: Callable[[Any, Any, np.random.Generator], tuple[float, ...]]
    max_real: int
    min_images: int
    match_num_real: bool = False

    def request(self, count: int) -> FeatureRequest:
        """Return the request for the statistic of the first `count` images."""
        return FeatureRequest(self.detector, self.output, self.statistic, count)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure of a generator's quality.

    Attributes:
        kind: how it is computed.
        results: {name of each value: whether higher is better; None if neither is}.
        unit: unit of the values, or None.
        num_samples: number of generated images, or of pairs, used for published values.
        version: version of the definition; values of different versions are not comparable.

    Examples:
        >>> psnr = METRICS["eqr50k"]
        >>> psnr.results, psnr.unit, psnr.num_samples
        ({'eqr50k': True}, 'dB', 50000)
    """

    kind: EquivarianceMetric | PathLengthMetric | FeatureMetric
    results: Mapping[str, bool | None]
    unit: str | None = None
    num_samples: int = 50_000
    version: int = 1


# --- Computations of FeatureMetric: real is None if it is not used ----------------------------------------------------


def _fid(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return (frechet_distance(real, fake),)


def _kid(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return (kernel_distance(real, fake, rng),)


def _kid_scattering(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return (standardized_kernel_distance(real, fake, rng, SMALLEST_DEVIATIONS),)


def _swd(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return (sliced_wasserstein_distance(real, fake, rng),)


def _precision_recall(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return precision_recall(real, fake, k=3)


def _density_coverage(real: Any, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return density_coverage(real, fake, k=5)


def _inception_score(real: None, fake: Any, rng: np.random.Generator) -> tuple[float, ...]:
    return inception_score(fake)


METRICS = {
    "swd": Metric(
        FeatureMetric("laplacian_patches", "patches", ROWS, _swd, max_real=ALL, min_images=1, match_num_real=True),
        {"swd": LOWER},
        num_samples=16_384,
        version=2,  # 1: patches by the pixels, not by the image's number
    ),
    "kid_scattering": Metric(
        FeatureMetric(
            "scattering", "coefficients", ROWS, _kid_scattering, max_real=ALL, min_images=2, match_num_real=True
        ),
        {"kid_scattering": LOWER},
        num_samples=16_384,
        version=2,  # 1: without SMALLEST_DEVIATIONS
    ),
    "eqt50k_int": Metric(
        EquivarianceMetric(sample_integer_translation, compare_translated), {"eqt50k_int": HIGHER}, unit="dB"
    ),
    "eqt50k_frac": Metric(
        EquivarianceMetric(sample_fractional_translation, compare_translated), {"eqt50k_frac": HIGHER}, unit="dB"
    ),
    "eqr50k": Metric(
        EquivarianceMetric(sample_rotation, compare_rotated, MIN_SIDE_ROTATED), {"eqr50k": HIGHER}, unit="dB"
    ),
    "fid50k_full": Metric(
        FeatureMetric("inception", "pool", MOMENTS, _fid, max_real=ALL, min_images=2),
        {"fid50k_full": LOWER},
    ),
    "kid50k_full": Metric(
        FeatureMetric("inception", "pool", ROWS, _kid, max_real=1_000_000, min_images=2),
        {"kid50k_full": LOWER},
    ),
    "pr50k3_full": Metric(
        FeatureMetric("vgg16", "features", ROWS, _precision_recall, max_real=200_000, min_images=4),
        {"pr50k3_full_precision": HIGHER, "pr50k3_full_recall": HIGHER},
    ),
    "is50k": Metric(
        FeatureMetric("inception", "logits", ROWS, _inception_score, max_real=0, min_images=SPLITS),
        {"is50k_mean": HIGHER, "is50k_std": NEITHER},
    ),
    "ppl2_wend": Metric(PathLengthMetric("w", "end"), {"ppl2_wend": LOWER}),
    "fid50k": Metric(
        FeatureMetric("inception", "pool", MOMENTS, _fid, max_real=50_000, min_images=2),
        {"fid50k": LOWER},
    ),
    "kid50k": Metric(
        FeatureMetric("inception", "pool", ROWS, _kid, max_real=50_000, min_images=2),
        {"kid50k": LOWER},
    ),
    "pr50k3": Metric(
        FeatureMetric("vgg16", "features", ROWS, _precision_recall, max_real=50_000, min_images=4),
        {"pr50k3_precision": HIGHER, "pr50k3_recall": HIGHER},
    ),
    "sfid50k_full": Metric(
        FeatureMetric("inception", "spatial", MOMENTS, _fid, max_real=ALL, min_images=2),
        {"sfid50k_full": LOWER},
    ),
    "dc50k5_full": Metric(
        FeatureMetric("vgg16", "features", ROWS, _density_coverage, max_real=200_000, min_images=6),
        {"dc50k5_full_density": HIGHER, "dc50k5_full_coverage": HIGHER},
    ),
    "ppl_zfull": Metric(PathLengthMetric("z", "full", crop=True), {"ppl_zfull": LOWER}),
    "ppl_wfull": Metric(PathLengthMetric("w", "full", crop=True), {"ppl_wfull": LOWER}),
    "ppl_zend": Metric(PathLengthMetric("z", "end", crop=True), {"ppl_zend": LOWER}),
    "ppl_wend": Metric(PathLengthMetric("w", "end", crop=True), {"ppl_wend": LOWER}),
}
