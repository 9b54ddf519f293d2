"""Post-hoc averages of weights: any power-function average from snapshots of two (arXiv 2312.02696, section 3).

The average of exponent gamma at time t weighs the weights of time tau by (gamma + 1) tau^gamma / t^(gamma + 1). Times
are in images. An average is named by its relative width sigma_rel: the standard deviation of its weighting over t.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils.arrays import read_npz
from sg3tf.utils.files import atomic_write

#: Relative widths of the averages that training tracks.
TRACKED = (0.05, 0.10)
#: The widest average, of exponent 0, has sqrt(1 / 12).
MAX_SIGMA_REL = 0.28

FloatArray = NDArray[np.float64]


def exponent(sigma_rel: float) -> float:
    """Return gamma of an average: the positive root of (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) = sigma_rel^2.

    Raises:
        ValueError: sigma_rel is not from 0.001 to MAX_SIGMA_REL.
    """
    if not 0.001 <= sigma_rel <= MAX_SIGMA_REL:
        raise ValueError(f"sigma_rel={sigma_rel:g}: must be from 0.001 to {MAX_SIGMA_REL}")
    inverse = sigma_rel**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def share_of_new(gamma: float, nimg: int, batch: int) -> float:
    """Share of the newest weights in the average that counts them; the older average keeps the rest.

    Args:
        gamma: exponent of the average.
        nimg: images before the step.
        batch: images of the step.
    """
    return -np.expm1((gamma + 1) * np.log(nimg / (nimg + batch))) if nimg else 1.0


@dataclasses.dataclass(frozen=True)
class Average:
    """A power-function average: its relative width, and the images after which it was taken."""

    sigma_rel: float
    nimg: int


def inner_products(a: Sequence[Average], b: Sequence[Average]) -> FloatArray:
    """Return the integrals of the products of the weightings over time, [len(a), len(b)].

    With t the smaller of both times and a, b one more than the exponents, that is
    a b t^(a + b - 1) / ((a + b - 1) t_a^a t_b^b).
    """
    gamma_a, time_a = _exponents_and_times(a)
    gamma_b, time_b = _exponents_and_times(b)
    gamma_a, time_a = gamma_a[:, None], time_a[:, None]
    smaller = np.minimum(time_a, time_b)
    ratios = (smaller / time_a) ** gamma_a * (smaller / time_b) ** gamma_b * smaller / (time_a * time_b)
    return ratios * (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)


def combination(stored: Sequence[Average], wanted: Average) -> tuple[FloatArray, float]:
    """Return the weights of stored averages whose sum approximates another one best, by least squares.

    Returns:
        A weight for each stored average, and the relative error: the norm of the difference between both weightings
        over the norm of the wanted one.

    Raises:
        ValueError: sigma_rel is out of range.
    """
    gram, target = inner_products(stored, stored), inner_products(stored, [wanted])[:, 0]
    # Scaled to a diagonal of ones, so that late and early averages count alike in what is singular to rounding.
    scale = 1 / np.sqrt(np.diag(gram))
    scaled, *_ = np.linalg.lstsq(gram * scale[:, None] * scale, target * scale, rcond=1e-14)
    weights = scaled * scale
    own = inner_products([wanted], [wanted])[0, 0]
    squared = own - 2 * weights @ target + weights @ gram @ weights
    return weights, float(np.sqrt(max(squared, 0) / own))


def _exponents_and_times(averages: Sequence[Average]) -> tuple[FloatArray, FloatArray]:
    return np.array([exponent(a.sigma_rel) for a in averages]), np.array([float(a.nimg) for a in averages])


# --- Files ------------------------------------------------------------------------------------------------------------

_FILE = re.compile(r"ema-profiles-(\d{9,})\.npz")


def file_name(nimg: int) -> str:
    """Name of the file of the tracked averages after `nimg` images."""
    return f"ema-profiles-{nimg:09}.npz"


def nimg_of(name: str) -> int | None:
    """Images seen by the tracked averages in a file of this name, None for other files."""
    match = _FILE.fullmatch(name)
    return int(match[1]) if match else None


def write(path: Path, nimg: int, models: Mapping[float, Any]) -> None:
    """Write the trained weights of the averages atomically.

    Args:
        path: file to write.
        nimg: images seen.
        models: {sigma_rel: model}.
    """
    arrays: dict[str, Any] = {
        f"{i}/{index}": np.asarray(variable)
        for i, model in enumerate(models.values())
        for index, variable in enumerate(model.trainable_variables)
    }
    with atomic_write(path) as file:
        np.savez(file, sigma_rel=np.array(list(models)), nimg=nimg, **arrays)


def stored_averages(run: str | os.PathLike[str]) -> dict[Average, tuple[Path, int]]:
    """Return the averages in a run folder: {average: (file, its number there)}.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file cannot be read.
    """
    found: dict[Average, tuple[Path, int]] = {}
    for path in sorted(Path(run).iterdir() if Path(run).is_dir() else []):
        if nimg_of(path.name):  # not 0, of weights that are still random
            try:
                arrays = read_npz(path, ["sigma_rel", "nimg"])
                for i, sigma_rel in enumerate(arrays["sigma_rel"]):
                    found[Average(float(sigma_rel), int(arrays["nimg"]))] = path, i
            except (OSError, ValueError, TypeError) as error:
                raise ValueError(f"{path}: cannot be read ({error}); remove it to do without") from error
    if not found:
        raise FileNotFoundError(f"{run}: holds no ema-profiles-*.npz; train with --posthoc_ema")
    return found


def assign_combination(model: Any, sources: Mapping[tuple[Path, int], float]) -> None:
    """Set a model's trained weights to the sum of stored averages.

    Args:
        model: of the run's architecture.
        sources: {(file, number there): weight}.

    Raises:
        ValueError: a file has weights of another architecture.
    """
    sums = [np.zeros(variable.shape) for variable in model.trainable_variables]
    for (path, i), weight in sources.items():
        names = [f"{i}/{index}" for index in range(len(sums))]
        try:
            arrays = read_npz(path, names)
        except ValueError as error:
            raise ValueError(f"{path}: cannot be read ({error}); remove it to do without") from error
        for index, (array, total) in enumerate(zip(arrays.values(), sums, strict=True)):
            if array.shape != total.shape:
                raise ValueError(f"{path}: weight {index} is {array.shape}, the network's {total.shape}")
            total += weight * array.astype(np.float64)
    for variable, total in zip(model.trainable_variables, sums, strict=True):
        variable.assign(total.astype(np.float32))
