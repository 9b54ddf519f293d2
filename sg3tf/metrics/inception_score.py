"""Inception score (IS; arXiv 1606.03498, section 4): distinctness and variety of images for a classifier."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import entr, softmax

from sg3tf.metrics.feature_stats import Features, check_features


def inception_score(logits: Features, splits: int = 10) -> tuple[float, float]:
    """exp(mean over images of KL(p(class | image) || p(class))), for each split of the images.

    A mean divergence is the entropy of the mean less the mean of the entropies, in which a class without any
    probability is 0; in float64.

    Args:
        logits: float [N, C], in the order of generation.
        splits: number of parts of consecutive images, each with its own p(class), of as equal size as possible.

    Returns:
        Mean over the splits, 1 to C, and their standard deviation (of the splits themselves: divided by their number).

    Raises:
        ValueError: another shape, or fewer images than splits.
        FloatingPointError: logits that are not finite.
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
