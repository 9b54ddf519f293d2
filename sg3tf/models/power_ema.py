"""Post-hoc EMA: any power-function average of weights, from snapshots of two averages (arXiv 2312.02696, section 3).

At time t, the average with exponent gamma weights the parameters of time tau by (gamma + 1) tau^gamma / t^(gamma + 1).
Time is in images. An average is identified by its relative width sigma_rel, the standard deviation of this weighting
divided by t.
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
#: Below sqrt(1 / 12), the width of the widest average, whose exponent is 0.
MAX_SIGMA_REL = 0.28

FloatArray = NDArray[np.float64]


def exponent(sigma_rel: float) -> float:
    """Return gamma of an average: the positive root of (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) = sigma_rel^2.

    Raises:
        ValueError: sigma_rel is not between 0.001 and MAX_SIGMA_REL.
    """
    if not 0.001 <= sigma_rel <= MAX_SIGMA_REL:
        raise ValueError(f"sigma_rel={sigma_rel:g}: must be from 0.001 to {MAX_SIGMA_REL}")
    inverse = sigma_rel**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def update_weight(gamma: float, nimg: int, batch: int) -> float:
    """Weight of the newest parameters in an average's update; the previous average has the rest.

    Args:
        gamma: exponent of the average.
        nimg: images before the step.
        batch: images in the step.
    """
    return -np.expm1((gamma + 1) * np.log(nimg / (nimg + batch))) if nimg else 1.0


@dataclasses.dataclass(frozen=True)
class Average:
    """A power-function average: its relative width, and the number of images after which it was taken."""

    sigma_rel: float
    nimg: int


def inner_products(a: Sequence[Average], b: Sequence[Average]) -> FloatArray:
    """Return the inner products of the averages' weightings over time, float64 [len(a), len(b)].

    With t the smaller of the two times, and a and b the exponents plus 1, an inner product is
    a b t^(a + b - 1) / ((a + b - 1) t_a^a t_b^b).
    """
    gamma_a, time_a = _exponents_and_times(a)
    gamma_b, time_b = _exponents_and_times(b)
    gamma_a, time_a = gamma_a[:, None], time_a[:, None]
    smaller = np.minimum(time_a, time_b)
    ratios = (smaller / time_a) ** gamma_a * (smaller / time_b) ** gamma_b * smaller / (time_a * time_b)
    return ratios * (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)


def combination(stored: Sequence[Average], wanted: Average) -> tuple[FloatArray, float]:
    """Return the coefficients of stored averages that approximate the wanted one best, by least squares.

    Unlike in the paper, they sum to 1: otherwise, few snapshots would give smaller weights, even of a network that no
    longer changes.

    Returns:
        A coefficient for each stored average, and the relative error: the norm of the difference between the two
        weightings divided by the norm of the wanted one.

    Raises:
        ValueError: sigma_rel is out of range.
    """
    gram, target = inner_products(stored, stored), inner_products(stored, [wanted])[:, 0]
    # Scale the diagonal to ones, so that the cutoff for singular values treats late and early averages alike.
    scale = 1 / np.sqrt(np.diag(gram))
    total = scale / scale.max()  # the row of the constraint, with a Lagrange multiplier
    matrix = np.block([[gram * scale[:, None] * scale, total[:, None]], [total, np.zeros(1)]])
    scaled, *_ = np.linalg.lstsq(matrix, np.append(target * scale, 1 / scale.max()), rcond=1e-14)
    weights = scaled[:-1] * scale
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
    """Return the number of images in the name of a file of tracked averages; None for other files."""
    match = _FILE.fullmatch(name)
    return int(match[1]) if match else None


def write(path: Path, nimg: int, models: Mapping[float, Any]) -> None:
    """Write the trainable weights of the averages atomically.

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
    """Return the averages in a run folder: {average: (file, its index in the file)}.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: a file cannot be read.
    """
    found: dict[Average, tuple[Path, int]] = {}
    for path in sorted(Path(run).iterdir() if Path(run).is_dir() else []):
        if nimg_of(path.name):  # skip 0, whose weights are still random
            try:
                arrays = read_npz(path, ["sigma_rel", "nimg"])
                for i, sigma_rel in enumerate(arrays["sigma_rel"]):
                    found[Average(float(sigma_rel), int(arrays["nimg"]))] = path, i
            except (OSError, ValueError, TypeError) as error:
                raise ValueError(f"{path}: cannot be read ({error}); remove it to continue without it") from error
    if not found:
        raise FileNotFoundError(f"{run}: holds no ema-profiles-*.npz; train with --posthoc_ema")
    return found


def assign_combination(model: Any, sources: Mapping[tuple[Path, int], float]) -> None:
    """Set a model's trainable weights to a linear combination of stored averages.

    Args:
        model: model with the run's architecture.
        sources: {(file, index in the file): coefficient}.

    Raises:
        ValueError: a file has weights of another architecture.
    """
    sums = [np.zeros(variable.shape) for variable in model.trainable_variables]
    for (path, i), weight in sources.items():
        names = [f"{i}/{index}" for index in range(len(sums))]
        try:
            arrays = read_npz(path, names)
        except ValueError as error:
            raise ValueError(f"{path}: cannot be read ({error}); remove it to continue without it") from error
        for index, (array, total) in enumerate(zip(arrays.values(), sums, strict=True)):
            if array.shape != total.shape:
                raise ValueError(f"{path}: weight {index} is {array.shape}, the network's {total.shape}")
            total += weight * array.astype(np.float64)
    for variable, total in zip(model.trainable_variables, sums, strict=True):
        variable.assign(total.astype(np.float32))
