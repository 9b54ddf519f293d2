"""Perceptual path length (PPL; arXiv 1812.04948, section 4.1): change of images along short paths in a latent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sg3tf.latents import slerp
from sg3tf.metrics.cache import ProgressFile
from sg3tf.metrics.detectors.lpips import Distance, reduce_by_boxes
from sg3tf.metrics.replicas import results_of_batches
from sg3tf.metrics.samples import Index, Samples, check_finite

OUTER_PERCENT = 1  # of the lengths, dropped at either end


@dataclasses.dataclass(frozen=True)
class PathLengthMetric:
    """Definition of a path length.

    Attributes:
        space: "z" for the arc between latents; "w" for the line between their style vectors.
        sampling: "full" for t uniform from 0 to 1; "end" for t = 0.
        crop: compare only the middle half of the width and 3/8 to 7/8 of the height, the face in FFHQ, as for published
            values.
        epsilon: step along the path.

    Examples:
        >>> PathLengthMetric(space="w", sampling="end").epsilon
        0.0001
    """

    space: str
    sampling: str
    crop: bool = False
    epsilon: float = 1e-4


def measure_path_length(
    metric: PathLengthMetric,
    distance: Distance,
    G: Any,
    samples: Samples,
    *,
    batch: int = 8,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
    progress_file: ProgressFile | None = None,
) -> float:
    """Mean of distance(G at t, G at t + epsilon) / epsilon^2 along paths between two latents, without outliers.

    StyleGAN2's numbers (arXiv 1912.04958, section 3) use "w" and "end", without a crop. Both images of a pair have the
    same label and the same noise, drawn for each pair, and are generated in one batch. Lengths below the 1st and above
    the 99th percentile are dropped; a percentile that falls between two lengths is rounded outward.

    Published values interpolate in float32, where t + epsilon is off by up to 3e-8, and so a length by a relative error
    of up to 6e-4 in either direction. Here, latents are interpolated in float64 and rounded at the end. Rounding in the
    network adds about (rounding of an image / epsilon)^2 to a length, so it always computes in float32, whatever the
    policy of G.

    Args:
        metric: definition of the path length.
        distance: must grow with the square of a small difference, as LPIPS does. Replicas call it in a tf.function.
        G: the generator.
        samples: latents, labels and noise of the paths, and random numbers for t.
        batch: paths per batch on each replica; each path gives two images.
        strategy: the replicas; None for the current strategy.
        progress: called after every batch with the number of paths done and in total.
        progress_file: intermediate results of an interrupted call with the same arguments.

    Raises:
        FloatingPointError: distances are not finite.
    """
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        G = G.with_dtype("float32")  # 16 bits are too few for differences of 1e-4

    def arrays(index: Index) -> dict[str, Any]:
        """Return two latents [N, z_dim] per path, steps float64 [2, N], seeds int32 [N, 2], and labels."""
        t = np.zeros(len(index))
        if metric.sampling == "full":
            t = np.array([samples.params_rng(int(i)).uniform() for i in index])
        steps = np.stack([t, t + metric.epsilon])
        a, b = samples.latents(2 * index), samples.latents(2 * index + 1)
        ends = [slerp(a, b, step) for step in steps] if metric.space == "z" else [a, b]
        label = samples.label(index)
        return {
            "ends": np.concatenate(ends),
            "steps": steps,
            "noise_seeds": samples.noise_seeds(index),
            **({} if label is None else {"label": np.concatenate([label, label])}),
        }

    def lengths_of(tensors: Any) -> tf.Tensor:
        """Lengths float64 [N]."""
        ws = G.mapping(tensors["ends"], tensors.get("label"))
        if metric.space == "w":
            start, end = tf.split(tf.cast(ws, tf.float64), 2)
            moved = start + tensors["steps"][:, :, None, None] * (end - start)
            ws = tf.cast(tf.reshape(moved, tf.shape(ws)), tf.float32)
        seeds = tensors["noise_seeds"]
        noise = tf.concat([seeds, seeds], 0) if G.supports_noise else "const"
        images = G.synthesis(ws, noise=noise)
        if metric.crop:
            row, column = images.shape[1] // 8, images.shape[2] // 8
            images = images[:, 3 * row : 7 * row, 2 * column : 6 * column]
        first, second = tf.split(reduce_by_boxes(images), 2)
        return tf.cast(distance(first, second), tf.float64) / metric.epsilon**2

    progress_file = progress_file or ProgressFile()
    saved = progress_file.load()
    lengths = saved.get("lengths", np.empty(samples.count))
    positions = range(int(saved.get("done", 0)), samples.count)
    for start, stop, block in results_of_batches(strategy, lengths_of, arrays, positions, batch):
        check_finite(block, "distances of paths", start, stop)
        lengths[start:stop] = block
        progress_file.save_periodically(lengths=lengths, done=stop)
        progress(stop, samples.count)
    low = np.percentile(lengths, OUTER_PERCENT, method="lower")
    high = np.percentile(lengths, 100 - OUTER_PERCENT, method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
