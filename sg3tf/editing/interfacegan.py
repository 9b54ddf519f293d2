"""InterFaceGAN: directions from labeled latents by logistic regression (arXiv 2005.09635)."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from sg3tf.utils.arrays import read_npz

# --- Files of labels -------------------------------------------------------------------------------------------------

KINDS = ("seed", "index")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Binary attributes of images.

    Attributes:
        kind: "seed" if `numbers` are seeds, "index" if they are positions in a file of latents.
        numbers: int64 [N].
        columns: attribute -> float64 [N], 0 or 1, or NaN if unknown.

    Examples:
        >>> labels = Labels("seed", np.array([3, 7]), {"smile": np.array([1.0, np.nan])})
        >>> labels.numbers[labels.columns["smile"] == 1].tolist()
        [3]
    """

    kind: str
    numbers: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


def read_labels(path: Path) -> Labels:
    """Read a .csv file with a header, such as seed,smile,glasses or index,smile, or an .npz file of such arrays.

    Raises:
        OSError: no such file.
        ValueError: malformed file, or values other than 0, 1 and, for unknown, an empty cell (NaN in .npz).
    """
    try:
        table = _arrays(path) if path.suffix == ".npz" else _columns(path)
        kinds = [name for name in KINDS if name in table]
        if len(kinds) != 1 or len(table) < 2:
            raise ValueError(f"columns are {', '.join(table)}; give seed or index, and an attribute")
        numbers = table.pop(kinds[0])
        if any(column.shape != numbers.shape or numbers.ndim != 1 for column in table.values()):
            raise ValueError("columns differ in length")
        if not np.all((numbers >= 0) & (numbers == np.floor(numbers))):
            raise ValueError(f"{kinds[0]} must be whole numbers from 0")
        for name, column in table.items():
            if not np.all(np.isnan(column) | (column == 0) | (column == 1)):
                raise ValueError(f"{name} must be 0 or 1")
    except (ValueError, csv.Error, TypeError) as error:
        raise ValueError(f"labels={path}: {error}") from error
    return Labels(kinds[0], numbers.astype(np.int64), table)


def _columns(path: Path) -> dict[str, NDArray[np.float64]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [[]]
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"every line must have {len(header)} columns, like the first")
    cells = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {
        name: np.array([float(cell or "nan") for cell in column]) for name, column in zip(header, cells, strict=True)
    }


def _arrays(path: Path) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(array, np.float64) for name, array in read_npz(path).items()}


# --- Logistic regression on w ----------------------------------------------------------------------------------------

Array = NDArray[np.float64]

_ITERATIONS = 100
_TOLERANCE = 1e-10  # of the gradient's norm, relative to the number of samples
_PENALTY = 1.0  # positive, because the samples may be separable
_FOLDS = 5


def interfacegan_direction(w: ArrayLike, label: ArrayLike) -> tuple[Array, float]:
    """Find the normal of the plane that separates samples with label 0 from those with label 1, by Newton's method.

    Minimizes the sum of log(1 + exp(-s (w . normal + offset))), where s is 1 for label 1 and -1 for label 0, plus
    |sigma normal|^2 / 2, where sigma is the root mean square of w about its mean, so that the scale of w does
    not matter.

    Args:
        w: [N, w_dim].
        label: [N], 0 or 1; both must occur.

    Returns:
        The normal [w_dim], which points toward label 1, and the offset.

    Raises:
        ValueError: labels other than 0 and 1, or only one of them.
    """
    samples, y = np.asarray(w, np.float64), np.asarray(label, np.float64)
    if not np.array_equal(np.unique(y), [0, 1]):
        raise ValueError(f"labels {np.unique(y)[:4].tolist()}: must be 0 and 1, and both must occur")
    mean = samples.mean(0)
    sigma = np.sqrt(np.mean((samples - mean) ** 2))
    x = np.column_stack([(samples - mean) / sigma, np.ones(len(y))])
    weights = np.append(np.full(x.shape[1] - 1, _PENALTY), 0.0)
    beta = _newton(x, y, weights)
    normal = beta[:-1] / sigma
    return normal, float(beta[-1] - normal @ mean)


def held_out_accuracy(w: ArrayLike, label: ArrayLike) -> float:
    """Return the cross-validation accuracy; NaN if a training fold has only one label."""
    samples, y = np.asarray(w, np.float64), np.asarray(label, np.float64)
    part = np.arange(len(y)) % _FOLDS
    right = []
    for fold in range(_FOLDS):
        kept = part != fold
        if len(np.unique(y[kept])) < 2:
            return float("nan")
        normal, offset = interfacegan_direction(samples[kept], y[kept])
        right.append((samples[~kept] @ normal + offset > 0) == (y[~kept] == 1))
    return float(np.mean(np.concatenate(right)))


def _newton(x: Array, y: Array, weights: Array) -> Array:
    beta = np.zeros(x.shape[1])
    for _ in range(_ITERATIONS):
        p = expit(x @ beta)
        gradient = x.T @ (p - y) + weights * beta
        if np.linalg.norm(gradient) <= _TOLERANCE * len(y):
            break
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(weights), gradient)
        # Far from the minimum, Newton's step may be too long: halve it until the loss decreases.
        while _loss(x, y, weights, beta - step) > _loss(x, y, weights, beta) and np.linalg.norm(step) > 1e-12:
            step /= 2
        beta = beta - step
    return beta


def _loss(x: Array, y: Array, weights: Array, beta: Array) -> float:
    score = x @ beta
    return float(np.sum(np.logaddexp(0, score) - y * score) + weights @ beta**2 / 2)
