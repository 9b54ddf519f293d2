"""Random streams of the project: Philox generators keyed by (seed, purpose, position).

A stream is a pure function of its three keys, so that any point of a run can be reached without the draws before it.
"""

from __future__ import annotations

import enum

import numpy as np

#: Raw words that `advance(1)` skips.
WORDS_PER_ADVANCE = 4


@enum.unique
class Purpose(enum.IntEnum):
    """Purposes of random numbers; each is the second word of a Philox key.

    The values are part of every checkpoint and every cached metric: never change one; give a new purpose a new value.
    """

    # Order of training images; the position is the epoch.
    SHUFFLE = 0
    MIRROR = 1
    SHUFFLE_KEYS = 48
    # Latents and labels of generated images; the position is cur_nimg.
    LATENTS_G = 2
    LATENTS_D = 3
    LATENTS_GRID = 4
    LATENTS_PATH_LENGTH = 5
    # Parameters of the augmentation; the position is cur_nimg.
    AUGMENT_G = 6
    AUGMENT_D_REAL = 7
    AUGMENT_D_FAKE = 8
    AUGMENT_R1 = 9
    AUGMENT_VALIDATION = 10
    # Style mixing and noise of StyleGAN2's images, separate from the latents, which must not depend on them.
    STYLES_G = 18
    STYLES_D = 19
    STYLES_PATH_LENGTH = 21
    # Random images for path length regularization.
    PATH_LENGTH_DIRECTIONS = 37
    # The relativistic loss: real images paired with G's, and generated ones paired with R1's.
    AUGMENT_G_REAL = 41
    AUGMENT_R2 = 42
    LATENTS_R2 = 43
    STYLES_R2 = 44
    # Generated images in place of real ones (--aug=apa).
    LATENTS_PSEUDO = 45
    STYLES_PSEUDO = 46
    PSEUDO_REPLACED = 47
    # Metrics; the position is the sample index.
    METRIC_LATENT = 1001
    METRIC_PARAMS = 1002
    METRIC_CLASS = 1003
    METRIC_NOISE = 1004
    METRIC_LABEL = 1005
    METRIC_SUBSETS = 1006


def philox(seed: int, purpose: Purpose, position: int = 0) -> np.random.Philox:
    """Return the bit generator of a stream; its raw words are the same in all versions of NumPy.

    Args:
        seed: seed of the run or the metric, 0 to 2**64 - 1.
        purpose: purpose of the numbers.
        position: epoch, number of images or sample index; streams of different positions do not overlap.
    """
    # A list of a number from 2**63 on and a small one would become float64.
    return np.random.Philox(key=np.array([seed, purpose], np.uint64), counter=[0, 0, 0, position])


def generator(seed: int, purpose: Purpose, position: int = 0) -> np.random.Generator:
    """Return a NumPy generator for the stream of `philox`."""
    return np.random.Generator(philox(seed, purpose, position))
