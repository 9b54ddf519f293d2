"""Which metrics there are: what each looks at, and the numbers that come of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sg3tf.metrics import equivariance
from sg3tf.metrics.equivariance import EquivarianceMetric
from sg3tf.metrics.feature_stats import MOMENTS, ROWS, FeatureRequest
from sg3tf.metrics.fid import frechet_distance
from sg3tf.metrics.inception_score import inception_score
from sg3tf.metrics.kid import kernel_distance
from sg3tf.metrics.precision_recall import density_coverage, precision_recall

ALL = sys.maxsize
SPLITS = 10  # of the images, for the inception score

#: Which of two values is better: the higher, the lower, or neither.
HIGHER, LOWER, NEITHER = True, False, None

Results = Mapping[str, bool | None]


@dataclasses.dataclass(frozen=True)
class PathLengthMetric:
    """Short steps through a latent space, and how different the images are; the words are path_length's."""

    space: str
    sampling: str
    crop: bool


@dataclasses.dataclass(frozen=True)
class FeatureMetric:
    """Features of generated images, and of real ones where `max_real` is not 0.

    Attributes:
        detector, output, kind: which features, and what is kept of them, as in Wanted.
        values: (real or None, fake, random numbers) -> the results.
        max_real: how many real images are looked at, the first ones; ALL for all.
        least: how many images there must be, real and generated.
    """

    detector: str
    output: str
    kind: str
    values: Callable[[Any, Any, np.random.Generator], tuple[float, ...]]
    max_real: int
    least: int

    def wanted(self, count: int) -> FeatureRequest:
        """What is kept of so many images."""
        return FeatureRequest(self.detector, self.output, self.kind, count)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A way to say how good a generator is.

    Attributes:
        looks_at: what it takes.
        results: for each number that comes of it, by name, whether a higher one is better; None: neither is.
        unit: of the numbers; None where they have none.
        num_samples: generated images, or pairs of them, that published values were computed with.
    """

    looks_at: EquivarianceMetric | PathLengthMetric | FeatureMetric
    results: Results
    unit: str | None = None
    num_samples: int = 50_000


def _motion(name: str, motion: EquivarianceMetric) -> dict[str, Metric]:
    return {name: Metric(motion, {name: HIGHER}, "dB")}


def _frechet(name: str, output: str, max_real: int) -> dict[str, Metric]:
    compared = FeatureMetric(
        "inception", output, MOMENTS, lambda real, fake, _: (frechet_distance(real, fake),), max_real, 2
    )
    return {name: Metric(compared, {name: LOWER})}


def _kernel(name: str, max_real: int) -> dict[str, Metric]:
    compared = FeatureMetric("inception", "pool", ROWS, lambda *args: (kernel_distance(*args),), max_real, 2)
    return {name: Metric(compared, {name: LOWER})}


def _precision_recall(name: str, max_real: int, k: int) -> dict[str, Metric]:
    compared = FeatureMetric(
        "vgg16", "features", ROWS, lambda real, fake, _: precision_recall(real, fake, k), max_real, k + 1
    )
    return {name: Metric(compared, {f"{name}_precision": HIGHER, f"{name}_recall": HIGHER})}


def _density_coverage(name: str, max_real: int, k: int) -> dict[str, Metric]:
    compared = FeatureMetric(
        "vgg16", "features", ROWS, lambda real, fake, _: density_coverage(real, fake, k), max_real, k + 1
    )
    return {name: Metric(compared, {f"{name}_density": HIGHER, f"{name}_coverage": HIGHER})}


def _inception_score(name: str) -> dict[str, Metric]:
    compared = FeatureMetric(
        "inception", "logits", ROWS, lambda _, fake, rng: inception_score(fake, SPLITS), max_real=0, least=SPLITS
    )
    return {name: Metric(compared, {f"{name}_mean": HIGHER, f"{name}_std": NEITHER})}


def _paths(name: str, space: str, sampling: str, crop: bool) -> dict[str, Metric]:
    return {name: Metric(PathLengthMetric(space, sampling, crop), {name: LOWER})}


METRICS = {
    **_motion(
        "eqt50k_int", EquivarianceMetric(equivariance.sample_integer_translation, equivariance.compare_translated)
    ),
    **_motion(
        "eqt50k_frac", EquivarianceMetric(equivariance.sample_fractional_translation, equivariance.compare_translated)
    ),
    **_motion("eqr50k", EquivarianceMetric(equivariance.sample_rotation, equivariance.compare_rotated)),
    **_frechet("fid50k_full", "pool", max_real=ALL),
    **_kernel("kid50k_full", max_real=1_000_000),
    **_precision_recall("pr50k3_full", max_real=200_000, k=3),
    **_inception_score("is50k"),
    **_paths("ppl2_wend", "w", "end", crop=False),
    **_frechet("fid50k", "pool", max_real=50_000),
    **_kernel("kid50k", max_real=50_000),
    **_precision_recall("pr50k3", max_real=50_000, k=3),
    **_frechet("sfid50k_full", "spatial", max_real=ALL),
    **_density_coverage("dc50k5_full", max_real=200_000, k=5),
    **_paths("ppl_zfull", "z", "full", crop=True),
    **_paths("ppl_wfull", "w", "full", crop=True),
    **_paths("ppl_zend", "z", "end", crop=True),
    **_paths("ppl_wend", "w", "end", crop=True),
}
