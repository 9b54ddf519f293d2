"""Which metrics there are, and computing them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from sg3tf.config import ConfigError, GeneratorConfig
from sg3tf.generator import Generator
from sg3tf.metrics import rotation, translation
from sg3tf.metrics.equivariance import Motion, equivariance
from sg3tf.metrics.samples import Labels, Samples

Measure = Callable[[Generator, Samples, int, Callable[[int, int], object]], float]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that says how good a generator is.

    Attributes:
        measure: (G, samples, batch, progress) -> value, where progress takes samples done and samples in all.
        higher_is_better: whether it is.
        unit: of the value.
        num_samples: that published values were computed with.
    """

    measure: Measure
    higher_is_better: bool
    unit: str
    num_samples: int = 50_000


def _equivariance(motion: Motion) -> Metric:
    return Metric(functools.partial(equivariance, motion), higher_is_better=True, unit="dB")


METRICS = {
    "eqt50k_int": _equivariance(Motion(translation.draw_integer, translation.compare)),
    "eqt50k_frac": _equivariance(Motion(translation.draw_fractional, translation.compare)),
    "eqr50k": _equivariance(Motion(rotation.draw, rotation.compare)),
}


def check(names: Iterable[str], G_config: Any) -> None:
    """Raises ConfigError where a generator of this configuration has no such metric."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metrics={name!r}: known are {', '.join(METRICS)}")
        if not isinstance(G_config, GeneratorConfig):  # all that there are want it, so far
            kind = type(G_config).__name__
            raise ConfigError(f"metrics={name!r}: images of a {kind} cannot be moved; use a GeneratorConfig")


def _ignore(*progress: Any) -> None: ...


def compute(
    names: Iterable[str],
    G: Generator,
    *,
    num_samples: int | None = None,
    batch: int = 8,
    seed: int = 0,
    labels: Labels | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> dict[str, float]:
    """Values of metrics; they depend on `seed` and `num_samples`, and not on `batch` but for rounding.

    Args:
        names: keys of METRICS.
        G: the generator.
        num_samples: latents; default: what published values were computed with.
        batch: latents at a time.
        seed: of latents and motions, 0 to 2**64 - 1.
        labels: position of a sample, below num_samples -> float32 [label_dim]; for generators with labels only.
        progress: called after every batch with a metric's name, samples done, and samples in all.

    Returns:
        {name: value}, in the order of `names`.

    Raises:
        ConfigError: unknown name, a generator without that metric, or an argument out of range.
        FloatingPointError: images that are not finite.
    """
    names = list(names)
    check(names, G.config)
    _check_numbers(num_samples, batch, seed)
    if (labels is None) != (G.config.label_dim == 0):
        remedy = f"give position -> float32 [{G.config.label_dim}]" if labels is None else "leave it out"
        raise ConfigError(f"labels={labels}: {remedy}, as this generator has label_dim={G.config.label_dim}")

    values = {}
    for name in names:
        metric = METRICS[name]
        samples = Samples(num_samples or metric.num_samples, G.config.z_dim, seed, labels)
        with _full_float32():
            values[name] = metric.measure(G, samples, batch, functools.partial(progress or _ignore, name))
    return values


def _check_numbers(num_samples: int | None, batch: int, seed: int) -> None:
    if num_samples is not None and num_samples < 1:
        raise ConfigError(f"num_samples={num_samples}: must be at least 1")
    if batch < 1:
        raise ConfigError(f"batch={batch}: must be at least 1")
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed={seed}: must be from 0 to 2**64 - 1")


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Without TensorFloat-32: ten bits of mantissa are too few for differences of 1e-4."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
