"""Inception score (IS; arXiv 1606.03498, section 4): distinctness and variety of images as seen by a classifier."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import entr, softmax

from sg3tf.metrics.feature_stats import Features, check_features

SPLITS = 10  # default number of splits


def inception_score(logits: Features, splits: int = SPLITS) -> tuple[float, float]:
    """Inception score, exp(mean over images of KL(p(class | image) || p(class))), averaged over splits of the images.

    The mean divergence is computed in float64 as the entropy of the mean minus the mean of the entropies, to which
    classes with probability 0 contribute 0.

    Args:
        logits: float [N, C], in the order of generation.
        splits: number of splits: consecutive images, in sizes as equal as possible, each with its own p(class).

    Returns:
        Mean over the splits, 1 to C, and their standard deviation (the population's, which divides by their number).

    Raises:
        ValueError: wrong shape, or fewer images than splits.
        FloatingPointError: logits are not finite.
    """
    check_features("logits", logits, logits.shape[-1])
    if not 1 <= splits <= len(logits):
        raise ValueError(f"splits={splits}: must be from 1 to {len(logits)}, the number of images")
    bounds = np.arange(splits + 1) * len(logits) // splits
    scores = []
    for start, end in itertools.pairwise(bounds):
        p = softmax(logits[start:end].astype(np.float64), axis=1)
        scores.append(np.exp(entr(p.mean(axis=0)).sum() - entr(p).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
