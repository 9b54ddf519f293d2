"""Project an image with a network, and tune the generator to it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf import images
from sg3tf.editing.perceptual import pixels
from sg3tf.editing.picture import checked_target
from sg3tf.editing.pivotal_tuning import tune
from sg3tf.editing.projector import mean_and_sigma, project_image
from sg3tf.generate.keras_network import KerasNetwork
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.trajectory import transforms_from_steps
from sg3tf.metrics.detectors.lpips import Distance
from sg3tf.utils.progress import with_progress

FloatArray = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Projection:
    """Result of `project`.

    Attributes:
        latents: latents of the image, with a transform if one was optimized.
        trace: latents after every step.
        distances: float32 [steps], before each step, with its noise.
        image: generated image, uint8 [H, W, C].

    Examples:
        >>> from sg3tf.generate.open_network import open_network
        >>> network = open_network("examples/portraits-32.keras")
        >>> found = project(network, np.zeros([32, 32, 3], np.float32), steps=2)
        >>> found.image.shape, len(found.trace)
        ((32, 32, 3), 2)
    """

    latents: Latents
    trace: Latents
    distances: FloatArray
    image: NDArray[np.uint8]


def project(
    network: Network,
    target: ArrayLike,
    distance: Distance = pixels,
    *,
    label: FloatArray | None = None,
    space: str = "w",
    transform: bool = False,
    steps: int = 1000,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Projection:
    """Find the latents whose image is closest to a target image.

    Args:
        network: network with a Keras model; it is not modified.
        target: float [H, W, C] in [-1, 1], from sg3tf.images.
        distance: a distance from sg3tf.editing.perceptual.
        label: [label_dim], for a conditional network; its mean w is the starting point.
        space, steps, learning_rate: see sg3tf.editing.projector.project_image.
        transform: also optimize a rotation and a translation.
        seed: seed of the noise, and of 10,000 latents for the statistics of w.

    Raises:
        ValueError: the network has no gradients, or does not support `transform`; or the target does not fit it.
        FloatingPointError: see project_image.
    """
    G = network.generator.with_dtype("float32")  # small gradients vanish in 16 bits
    if transform:
        network.require_transform()
    target = checked_target(target, network.resolution, network.channels)
    mean, sigma = mean_and_sigma(network.sample_w(seed=seed, label=label))
    trace = project_image(
        G,
        target,
        distance,
        mean,
        sigma,
        space=space,
        search_transform=transform,
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        progress=functools.partial(with_progress, count=steps, unit="steps"),
    )
    transforms = None if trace.motion is None else transforms_from_steps(trace.motion)
    path = Latents(trace.ws, transforms, label=None if label is None else np.tile(label, [steps, 1]))
    return Projection(path[-1:], path, trace.distances, draw_single(network, path[-1:]))


def tune_network(
    network: Network,
    pivot: Latents,
    target: ArrayLike,
    distance: Distance = pixels,
    *,
    steps: int,
    learning_rate: float,
    locality: float = 0.0,
    seed: int = 0,
) -> KerasNetwork:
    """Return a network tuned to generate `target` at the pivot.

    Args:
        network: network with a Keras model; it is not modified.
        pivot: latents of one image, from `project`.
        target, distance, steps, learning_rate, locality: see sg3tf.editing.pivotal_tuning.tune.
        seed: seed of the latents for locality. Their distance from the pivot is the RMS distance of w from its mean.
    """
    target = checked_target(target, network.resolution, network.channels)
    label = None if pivot.label is None else pivot.label[0]
    w = network.sample_w(seed=seed, label=label)
    tuned = tune(
        network.generator.with_dtype("float32"),
        pivot.ws[0],
        None if pivot.transform is None else pivot.transform[0],
        target,
        distance,
        steps=steps,
        learning_rate=learning_rate,
        locality=locality,
        others=w[np.arange(steps) % len(w)],
        radius=mean_and_sigma(w)[1],
        progress=functools.partial(with_progress, count=steps, unit="steps"),
    )
    return KerasNetwork(tuned, f"{network.name}, tuned", network.batch)


def projection_frames(
    network: Network, target: FloatArray, trace: Latents, count: int = 200
) -> Iterator[NDArray[np.uint8]]:
    """Yield frames [H, 2 W, C] uint8 with the target next to the search's image, at `count` steps, or all if fewer."""
    chosen = trace[np.unique(np.linspace(0, len(trace) - 1, count).round().astype(int))]
    left = images.to_uint8(target)
    for right in with_progress(network.images(chosen.ws, chosen.transform), len(chosen), "frames"):
        yield np.concatenate([left, right], axis=1)


def draw_single(network: Network, latents: Latents) -> NDArray[np.uint8]:
    """Return the image [H, W, C] for the latents of one image."""
    return network.synthesize(latents.ws, latents.transform)[0]


def psnr(image: NDArray[np.uint8], target: FloatArray) -> float:
    """Peak signal-to-noise ratio of 8-bit values in dB; infinite for equal images."""
    difference = image.astype(np.float64) - images.to_uint8(target)
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(255) - 10 * np.log10(np.mean(difference**2)))


def quality(image: NDArray[np.uint8], target: ArrayLike, distance: Distance) -> dict[str, float]:
    """Return the PSNR of an image [H, W, C], and its distance from the target."""
    target = np.asarray(target, np.float32)
    found = distance(tf.constant(images.to_float(image[None])), target[None])[0]
    return {"psnr": psnr(image, target), "distance": float(found)}
