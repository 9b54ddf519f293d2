"""Latent directions with the standard deviations of w along them, and their .npz file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf.utils.arrays import read_npz
from sg3tf.utils.files import atomic_write

FloatArray = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Directions:
    """K latent directions.

    Attributes:
        names: name of each direction.
        vectors: float32 [K, w_dim], unit vectors.
        deviations: float32 [K], standard deviations of w along them.
        layers: int64 [L], indices of the style vectors that they move.

    Examples:
        >>> w = np.random.default_rng(0).standard_normal([1000, 4])
        >>> directions = Directions.of(["first"], [[2, 0, 0, 0]], w, layers=[0, 1])
        >>> edited = apply_direction(np.zeros([1, 3, 4]), directions, 0, strengths=[-1, 1])
        >>> edited[0, 1].round().tolist()
        [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    names: tuple[str, ...]
    vectors: FloatArray
    deviations: FloatArray
    layers: NDArray[np.int64]

    @staticmethod
    def of(names: list[str], vectors: ArrayLike, w: ArrayLike, layers: list[int]) -> Directions:
        """Normalize directions [K, w_dim], and compute their deviations from samples of w [N, w_dim]."""
        exact = np.asarray(vectors, np.float64)
        exact = exact / np.linalg.norm(exact, axis=1, keepdims=True)
        deviations = np.std(np.asarray(w, np.float64) @ exact.T, axis=0)
        return Directions(
            tuple(names), exact.astype(np.float32), deviations.astype(np.float32), np.asarray(layers, np.int64)
        )

    def number(self, text: str) -> int:
        """Return the index of the direction with this name or number; raise ValueError if there is none."""
        if text in self.names:
            return self.names.index(text)
        if text.isdecimal() and int(text) < len(self.names):
            return int(text)
        raise ValueError(f"direction={text}: give one of {', '.join(self.names)}, or 0 to {len(self.names) - 1}")


def apply_direction(ws: ArrayLike, directions: Directions, number: int, strengths: ArrayLike) -> FloatArray:
    """Move style vectors along a direction.

    Args:
        ws: [N, num_ws, w_dim], starting points.
        directions: the directions; only the style vectors of its `layers` are moved.
        number: index of the direction.
        strengths: [S], in standard deviations.

    Returns:
        float32 [N, S, num_ws, w_dim].
    """
    ws, strengths = np.asarray(ws, np.float32), np.asarray(strengths, np.float32)
    steps = strengths[:, None] * directions.deviations[number] * directions.vectors[number]
    result = np.repeat(ws[:, None], len(strengths), axis=1)
    result[:, :, directions.layers] += steps[:, None]
    return result


def save(path: str | os.PathLike[str], directions: Directions) -> None:
    """Write an .npz file with the arrays of `directions` under their names, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        arrays = {name: np.asarray(value) for name, value in vars(directions).items()}
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str], num_ws: int, w_dim: int) -> Directions:
    """Read a file written by `save`.

    Raises:
        OSError: no such file.
        ValueError: wrong kind of file, or directions of another network.
    """
    names = [field.name for field in dataclasses.fields(Directions)]
    try:
        found = read_npz(Path(path), names)
    except ValueError as error:
        raise ValueError(f"directions={path}: not a file written by --save_directions ({error})") from error
    count = len(found["names"])
    shapes = {"names": (count,), "vectors": (count, w_dim), "deviations": (count,), "layers": found["layers"].shape}
    wrong = [f"{name} of shape {found[name].shape}" for name, shape in shapes.items() if found[name].shape != shape]
    if wrong or not np.isin(found["layers"], np.arange(num_ws)).all():
        problem = wrong[0] if wrong else f"layers {found['layers'].tolist()}"
        raise ValueError(f"directions={path}: {problem}: this network has {num_ws} style vectors of {w_dim} numbers")
    return Directions(tuple(map(str, found["names"])), *(found[name] for name in names[1:]))
