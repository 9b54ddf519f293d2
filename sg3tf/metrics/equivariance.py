"""How exactly generated images follow a motion of the generator's input (arXiv 2106.12423, appendix E)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sg3tf.generator import Generator
from sg3tf.metrics.samples import Samples
from sg3tf.metrics.so_far import SoFar

RANGE = 2.0  # of images from -1 to 1
Drawn = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Motion:
    """A random motion of images.

    Attributes:
        draw: (rng, resolution) -> arrays for one image; one is "transform", for the generator.
        compare: (images, images generated in motion, arrays of draw, stacked) -> (difference, mask), as float32
            [N, R, R, C] and [N, R, R, 1] or [1, R, R, 1].
    """

    draw: Callable[[np.random.Generator, int], Drawn]
    compare: Callable[[tf.Tensor, tf.Tensor, Drawn], tuple[tf.Tensor, tf.Tensor]]


def equivariance(
    motion: Motion,
    G: Generator,
    samples: Samples,
    batch: int,
    progress: Callable[[int, int], object],
    so_far: SoFar | None = None,
) -> float:
    """10 log10(RANGE^2 / mean squared difference between moved images and images generated in motion), in dB.

    Args:
        motion: what moves, independently for each image.
        G: makes the images.
        samples: latents and labels, and what motions are drawn from.
        batch: latents at a time; each makes two images.
        progress: called with latents done and latents in all.
        so_far: what an interrupted call with the same arguments left.

    Raises:
        FloatingPointError: images that are not finite.
    """

    @tf.function
    def squares(z: tf.Tensor, label: tf.Tensor | None, drawn: Drawn) -> tf.Tensor:
        still, moved = _images(G, G.mapping(z, label), drawn["transform"])
        difference, mask = motion.compare(still, moved, drawn)
        mask = tf.broadcast_to(mask, tf.shape(difference))
        summands = tf.stack([tf.square(difference) * mask, mask])
        return tf.reduce_sum(tf.cast(summands, tf.float64), axis=[2, 3, 4])

    so_far = so_far or SoFar()
    before = so_far.arrays()
    total = before.get("total", np.zeros(2))
    for start in range(int(before.get("done", 0)), samples.count, batch):
        index = np.minimum(np.arange(start, start + batch), samples.count - 1)  # all of one size, for one graph
        drawn = [motion.draw(samples.motion(int(i)), G.config.resolution) for i in index]
        stacked = {name: np.stack([d[name] for d in drawn]) for name in drawn[0]}
        wanted = min(batch, samples.count - start)
        sums = squares(samples.latents(index), samples.label(index), stacked).numpy()[:, :wanted]
        if not np.isfinite(sums).all():
            raise FloatingPointError(f"images of samples {start} to {start + wanted - 1} are not finite")
        total += sums.sum(axis=1)
        so_far.keep(total=total, done=start + wanted)
        progress(start + wanted, samples.count)
    squared_difference, values = total
    with np.errstate(divide="ignore"):  # no difference at all is infinitely good
        return float(10 * np.log10(RANGE**2 * values / squared_difference))


def _images(G: Generator, ws: tf.Tensor, transform: tf.Tensor) -> list[tf.Tensor]:
    """Images [N, R, R, C] without and with a transform; at once, as tracing a generator takes its time."""
    still = tf.eye(3, batch_shape=tf.shape(transform)[:1])
    return tf.split(G.synthesis(tf.concat([ws, ws], 0), transform=tf.concat([still, transform], 0)), 2)
