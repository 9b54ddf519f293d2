"""Find latent directions from a network's weights, random latents, or labels; and move latents along them."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from sg3tf.editing import directions as directions_file
from sg3tf.editing.directions import Directions
from sg3tf.editing.ganspace import ganspace_directions
from sg3tf.editing.interfacegan import Labels, held_out_accuracy, interfacegan_direction
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network

FloatArray = NDArray[np.float32]


def edit_latents(latents: Latents, directions: Directions, number: int, strengths: FloatArray) -> Latents:
    """Move all latents along a direction.

    Args:
        latents: latents of N images.
        directions: the directions.
        number: index of the direction to use.
        strengths: [S], in standard deviations.

    Returns:
        Latents of N * S images, image by image, without seeds.
    """
    ws = directions_file.apply_direction(latents.ws, directions, number, strengths)
    each = latents[np.repeat(np.arange(len(latents)), len(strengths))]
    return Latents(ws.reshape(-1, *ws.shape[2:]), each.transform, label=each.label)


def directions_from_samples(w: FloatArray, count: int, layers: list[int]) -> Directions:
    """Return the first principal components of w [N, w_dim] (GANSpace)."""
    return Directions.of([f"pc{i}" for i in range(count)], ganspace_directions(w, count), w, layers)


def directions_from_weights(network: Network, w: FloatArray, count: int, layers: list[int]) -> Directions:
    """Return the directions that change the styles of `layers` most (SeFa); w [N, w_dim] gives standard deviations."""
    from sg3tf.editing.sefa import sefa_directions  # imported here, because it needs TensorFlow

    found = sefa_directions(network.generator, layers, count)
    return Directions.of([f"sefa{i}" for i in range(count)], found, w, layers)


def directions_from_labels(samples: FloatArray, labels: Labels, w: FloatArray, layers: list[int]) -> Directions:
    """Return a direction toward 1 for each attribute (InterFaceGAN), and print their accuracies to stderr.

    Args:
        samples: w [N, w_dim] of the labeled images.
        labels: labels of N images.
        w: random w [M, w_dim], for the standard deviations.
        layers: style vectors to move.

    Raises:
        ValueError: all images have an attribute, or none does.
    """
    found = []
    for name, column in labels.columns.items():
        known = ~np.isnan(column)
        try:
            found.append(interfacegan_direction(samples[known], column[known])[0])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        accuracy = held_out_accuracy(samples[known], column[known])
        print(f"{name}: {accuracy:.1%} of held-out labels are predicted correctly", file=sys.stderr)
    return Directions.of([*labels.columns], found, w, layers)
