"""What metrics refuse before anything runs, each in one line with the remedy; and what they only warn of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg3tf.config import ConfigError
from sg3tf.metrics import detectors
from sg3tf.metrics.collection import MOMENTS
from sg3tf.metrics.data import Images
from sg3tf.metrics.equivariance import Motion
from sg3tf.metrics.registry import METRICS, Comparison, Metric, Paths

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
    found = {one.detector if isinstance(one, Comparison) else "lpips" for one in looks if not isinstance(one, Motion)}
    return sorted(found)


def load_detectors(names: Sequence[str], folder: str | Path | None) -> dict[str, Any]:
    """The detectors of metrics, by name."""
    return {name: detectors.load(name, Path(str(folder))) for name in detectors_of(names)}


def warn_of_bias(names: Sequence[str], loaded: Mapping[str, Any], data: Images | None, num_samples: int | None) -> None:
    """Where covariances are of fewer images than features."""
    for name in names:
        one = METRICS[name].looks_at
        if not isinstance(one, Comparison) or one.kind != MOMENTS or data is None:
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
            f"build them with python -m trainer.data.build --resolution={ours}"
        )
    if G_config.image_channels != data.channels:
        raise ConfigError(
            f"data={data.path}: {data.channels} channels, but the generator's images have {G_config.image_channels}; "
            f"build them with python -m trainer.data.build --channels={G_config.image_channels}"
        )
    if G_config.label_dim and data.label_dim != G_config.label_dim:
        raise ConfigError(
            f"data={data.path}: label_dim={data.label_dim}, but the generator's is {G_config.label_dim}; "
            "give the data that it was trained on, with their labels"
        )


def _check_metric(name: str, metric: Metric, G_config: Any, data: Images | None, num_samples: int | None) -> None:
    one = metric.looks_at
    if isinstance(one, Motion):
        if not G_config.fourier_input:
            kind = type(G_config).__name__
            raise ConfigError(f"metrics={name!r}: images of this {kind} cannot be moved; use one with fourier_input")
        return
    if G_config.image_channels not in (1, 3):
        raise ConfigError(f"metrics={name!r}: takes grey or RGB images, not {G_config.image_channels} channels")
    if isinstance(one, Paths):
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


def _counts(metric: Metric, one: Comparison, data: Images | None, num_samples: int | None) -> list[int]:
    """Of generated images, and of real ones where they are wanted."""
    return [num_samples or metric.num_samples] + (
        [min(len(data), one.max_real)] if data is not None and one.max_real else []
    )
