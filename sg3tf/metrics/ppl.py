"""How much images change along short paths through a latent space (PPL; arXiv 1812.04948, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.latents import slerp
from sg3tf.metrics.cache import ProgressFile
from sg3tf.metrics.samples import Samples
from sg3tf.models.stylegan3 import Generator

Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

LARGEST = 256  # side of the images that are compared
OUTER_PERCENT = 1  # of the lengths, left out at either end


def path_length(
    distance: Distance,
    G: Generator,
    samples: Samples,
    batch: int,
    progress: Callable[[int, int], object],
    so_far: ProgressFile | None = None,
    *,
    space: str,
    sampling: str,
    crop: bool = False,
    epsilon: float = 1e-4,
) -> float:
    """Mean of distance(G at t, G at t + epsilon) / epsilon^2 along paths between two latents, without the outer ones.

    StyleGAN2's numbers (arXiv 1912.04958, section 3) are in "w", from "end", and not cropped. Both images of a pair
    have the same label and the same noise, drawn for each pair, and come out of one batch. The lengths below the 1st
    and above the 99th percentile are left out; a percentile between two lengths is the outer one.

    Published values interpolate in float32, where t + epsilon is off by up to 3e-8 and so a length by up to 6e-4 of it,
    either way. Here latents are interpolated in float64, and rounded at the end. Rounding in the network adds about
    (rounding of an image / epsilon)^2 to a length: it computes in float32 throughout, whatever the policy of G.

    Args:
        distance: (images, other images) -> float32 [N], growing with the square of a small difference, as LPIPS does.
            Images are float32 [N, S, S, C], nominally in [-1, 1]. It is called inside a tf.function.
        G: makes the images.
        samples: count is that of paths; latents, labels, noise, and what t is drawn from.
        batch: paths at a time; each makes two images.
        progress: called with paths done and paths in all.
        so_far: what an interrupted call with the same arguments left.
        space: "z", along the arc between latents; "w", along the line between their style vectors.
        sampling: "full", t uniform from 0 to 1; "end", t = 0.
        crop: compare only the middle half of the width and rows from 3/8 to 7/8 of the height, where published
            values for FFHQ have the face.
        epsilon: step along the path.

    Raises:
        ValueError: another space or sampling, or a step that is not positive.
        FloatingPointError: distances that are not finite.
    """
    _check(space, sampling, epsilon)
    # Sixteen bits are too few for differences of 1e-4.
    lengths = _lengths(distance, G.in_dtype("float32"), space, crop, epsilon)
    so_far = so_far or ProgressFile()
    before = so_far.arrays()
    found = before.get("found", np.empty(samples.count))
    for start in range(int(before.get("done", 0)), samples.count, batch):
        index = np.minimum(np.arange(start, start + batch), samples.count - 1)  # all of one size, for one graph
        t = np.array([samples.motion(int(i)).uniform() if sampling == "full" else 0.0 for i in index])
        steps = np.stack([t, t + epsilon])
        a, b = samples.latents(2 * index), samples.latents(2 * index + 1)
        ends = [slerp(a, b, step) for step in steps] if space == "z" else [a, b]
        wanted = min(batch, samples.count - start)
        block = found[start : start + wanted]
        block[:] = lengths(ends, samples.label(index), steps, samples.noise(index)).numpy()[:wanted]
        if not np.isfinite(block).all():
            raise FloatingPointError(f"distances of paths {start} to {start + wanted - 1} are not finite")
        so_far.keep(found=found, done=start + wanted)
        progress(start + wanted, samples.count)
    return _inner_mean(found)


def _check(space: str, sampling: str, epsilon: float) -> None:
    if space not in ("z", "w"):
        raise ValueError(f"space={space!r}: use 'z' or 'w'")
    if sampling not in ("full", "end"):
        raise ValueError(f"sampling={sampling!r}: use 'full' or 'end'")
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon}: must be positive")


def _lengths(distance: Distance, G: Generator, space: str, crop: bool, epsilon: float) -> Callable[..., tf.Tensor]:
    """(two latents [N, z_dim], label, steps float64 [2, N], seeds int32 [N, 2]) -> lengths float64 [N]."""

    @tf.function
    def lengths(ends: list[tf.Tensor], label: tf.Tensor | None, steps: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        ws = G.mapping(tf.concat(ends, 0), None if label is None else tf.concat([label, label], 0))
        if space == "w":
            ws = _lerp(ws, steps)
        noise = {"noise": tf.concat([seeds, seeds], 0)} if G.config.noise else {}
        pair = tf.split(_compared(G.synthesis(ws, **noise), crop), 2)
        return tf.cast(distance(*pair), tf.float64) / epsilon**2

    return lengths


def _lerp(ws: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """From ws [2N, num_ws, w_dim], where lines start and end, those after steps [2, N] along them."""
    start, end = tf.split(tf.cast(ws, tf.float64), 2)
    moved = start + steps[:, :, None, None] * (end - start)
    return tf.cast(tf.reshape(moved, tf.shape(ws)), tf.float32)


def _compared(images: tf.Tensor, crop: bool) -> tf.Tensor:
    """What is compared of images [N, R, R, C]; boxes of pixels are averaged where there are too many."""
    if crop:
        eighth = images.shape[1] // 8
        images = images[:, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]
    box = images.shape[1] // LARGEST
    return tf.nn.avg_pool2d(images, box, box, "VALID") if box > 1 else images


def _inner_mean(lengths: NDArray[np.float64]) -> float:
    low = np.percentile(lengths, OUTER_PERCENT, method="lower")
    high = np.percentile(lengths, 100 - OUTER_PERCENT, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
