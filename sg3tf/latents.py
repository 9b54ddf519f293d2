"""Latents and style vectors: seeds, labels, interpolation, truncation, style mixing, transforms. NumPy only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]


def z_from_seeds(seeds: Iterable[int], z_dim: int = 512) -> FloatArray:
    """Draw latents from seeds, identical on every machine: numpy.random.RandomState(seed).randn(z_dim).

    Args:
        seeds: integers from 0 to 2**32 - 1.
        z_dim: size of a latent.

    Returns:
        float32 [N, z_dim].

    Raises:
        ValueError: a seed is out of range.

    Examples:
        >>> z_from_seeds([0, 1]).shape
        (2, 512)
    """
    rows = []
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed {seed}: must be from 0 to {2**32 - 1}")
        rows.append(np.random.RandomState(seed).randn(z_dim))
    return np.asarray(rows, np.float32).reshape(-1, z_dim)


def labels_in_turn(count: int, label_dim: int) -> FloatArray:
    """One-hot labels float32 [count, label_dim] of the classes in turn: 0, 1, and so on, then 0 again.

    Examples:
        >>> labels_in_turn(3, 2).argmax(axis=1).tolist()
        [0, 1, 0]
    """
    return np.eye(label_dim, dtype=np.float32)[np.arange(count) % label_dim]


def parse_seeds(text: str, flag: str = "seeds") -> list[int]:
    """Parse a list of seeds and ranges of seeds.

    Args:
        text: numbers and ranges, separated by commas.
        flag: name of the flag that holds the text, for messages.

    Raises:
        ValueError: malformed text, or a seed not between 0 and 2**32 - 1.

    Examples:
        >>> parse_seeds("3,7-9")
        [3, 7, 8, 9]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and (not last.isdecimal() or int(last) < int(first))):
            raise ValueError(f"{flag}={text}: give numbers and ranges, the smaller number first, like 3,7-9")
        if int(last or first) >= 2**32:
            raise ValueError(f"{flag}={text}: give seeds below 2**32")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def slerp(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> FloatArray:
    """Interpolate spherically between latents, with constant angular speed and linearly interpolated length.

    Args:
        a, b: [..., D].
        t: 0 (gives a) to 1 (gives b); broadcasts against the leading axes.

    Returns:
        float32 [..., D].

    Examples:
        >>> slerp([1, 0], [0, 1], 0.5)
        array([0.70710677, 0.70710677], dtype=float32)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    t = np.asarray(t, np.float64)[..., None]
    norm_a, norm_b = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    unit_a, unit_b = a / norm_a, b / norm_b
    angle = np.arccos(np.clip(np.sum(unit_a * unit_b, axis=-1, keepdims=True), -1, 1))
    sine = np.sin(angle)
    parallel = sine < 1e-6  # the plane of the arc is undefined: interpolate along the chord
    safe = np.where(parallel, 1.0, sine)
    weight_a = np.where(parallel, 1 - t, np.sin((1 - t) * angle) / safe)
    weight_b = np.where(parallel, t, np.sin(t * angle) / safe)
    direction = weight_a * unit_a + weight_b * unit_b
    return np.asarray(direction * (norm_a + t * (norm_b - norm_a)), np.float32)


def lerp(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> FloatArray:
    """Interpolate linearly, as is usual for style vectors; arguments and result are those of `slerp`.

    Examples:
        >>> lerp([1, 0], [0, 1], 0.25)
        array([0.75, 0.25], dtype=float32)
    """
    t = np.asarray(t, np.float64)[..., None]
    return np.asarray((1 - t) * np.asarray(a, np.float64) + t * np.asarray(b, np.float64), np.float32)


def truncate(ws: ArrayLike, w_avg: ArrayLike, psi: ArrayLike = 1.0, cutoff: int | None = None) -> FloatArray:
    """Move style vectors toward the average w (arXiv 1812.04948, appendix B).

    Args:
        ws: [N, num_ws, w_dim].
        w_avg: [w_dim], or [N, 1, w_dim] for one per image.
        psi: a number or [N]; 1 leaves style vectors bit-for-bit unchanged, 0 makes them the average.
        cutoff: number of leading style vectors to truncate; None for all.

    Returns:
        float32 [N, num_ws, w_dim].

    Raises:
        ValueError: psi is neither a number nor [N], or the cutoff is negative.

    Examples:
        >>> truncate([[[2.0], [2.0]]], [1.0], psi=0.5, cutoff=1)
        array([[[1.5],
                [2. ]]], dtype=float32)
    """
    ws, average = np.asarray(ws, np.float32), np.asarray(w_avg, np.float32)
    psi = np.asarray(psi, np.float32)
    if psi.shape not in ((), (1,), (len(ws),)):
        raise ValueError(f"psi of shape {psi.shape}: give a number, or one for each of {len(ws)} images")
    if cutoff is not None and cutoff < 0:
        raise ValueError(f"cutoff={cutoff}: give 0 or more, or None for all")
    psi = np.broadcast_to(psi, len(ws))[:, None, None]
    is_truncated = np.arange(ws.shape[1])[:, None] < (ws.shape[1] if cutoff is None else cutoff)
    return np.where(is_truncated & (psi != 1), average + psi * (ws - average), ws)


def mix(ws_a: ArrayLike, ws_b: ArrayLike, layers: Sequence[int]) -> FloatArray:
    """Mix styles: take the style vectors of `ws_a`, with those of `layers` from `ws_b`.

    Args:
        ws_a, ws_b: [N, num_ws, w_dim].
        layers: indices into num_ws.

    Returns:
        float32 [N, num_ws, w_dim].

    Raises:
        ValueError: shapes differ, or an index is out of range.

    Examples:
        >>> mix([[[1.0], [1.0]]], [[[2.0], [2.0]]], layers=[1])
        array([[[1.],
                [2.]]], dtype=float32)
    """
    mixed, other = np.array(ws_a, np.float32), np.asarray(ws_b, np.float32)
    if mixed.shape != other.shape or mixed.ndim != 3:
        raise ValueError(f"ws_a of shape {mixed.shape}, ws_b of shape {other.shape}: give two of [N, num_ws, w_dim]")
    wrong = [layer for layer in layers if not 0 <= layer < mixed.shape[1]]
    if wrong:
        raise ValueError(f"layers={wrong}: must be from 0 to {mixed.shape[1] - 1}")
    mixed[:, list(layers)] = other[:, list(layers)]
    return mixed


def transform_matrix(angle: float = 0.0, tx: float = 0.0, ty: float = 0.0) -> FloatArray:
    """Return the `transform` that rotates the image by `angle` and then translates it by (tx, ty).

    Args:
        angle: radians, clockwise on screen (y points down).
        tx, ty: translation right and down, in image widths.

    Returns:
        float32 [3, 3]: the inverse of the motion, for the argument `transform`.

    Examples:
        >>> transform_matrix(tx=0.5)
        array([[ 1. ,  0. , -0.5],
               [ 0. ,  1. ,  0. ],
               [ 0. ,  0. ,  1. ]], dtype=float32)
    """
    cos, sin = np.cos(angle), np.sin(angle)
    motion = np.array([[cos, -sin, tx], [sin, cos, ty], [0, 0, 1]])
    return np.asarray(np.linalg.inv(motion), np.float32)
