"""The TensorFlow versions of truncation, mixing and transforms against the NumPy ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import latents
from sg3tf.models import latent_ops
from tests.helpers.numerics import random

MOTION = np.array([0.7, -0.2, 0.11])


@pytest.mark.parametrize("cutoff", [None, 0, 2])
@pytest.mark.parametrize("psi", [1.0, 0.3, np.float32([1.0, 0.5, -0.2])])
def test_truncation(psi, cutoff):
    ws, w_avg = random(3, 4, 5), random(5, seed=1)
    found = latent_ops.truncate(tf.constant(ws), tf.constant(w_avg), psi, cutoff)
    np.testing.assert_allclose(found, latents.truncate(ws, w_avg, psi, cutoff), rtol=0, atol=1e-6)


def test_mixing():
    a, b = random(2, 4, 5), random(2, 4, 5, seed=1)
    found = latent_ops.mix(tf.constant(a), tf.constant(b), tf.constant([[False, True, False, True]]))
    np.testing.assert_array_equal(found, latents.mix(a, b, [1, 3]))


def test_transform_matrix():
    found = latent_ops.transform_matrix(tf.constant(MOTION, tf.float32))[0]
    np.testing.assert_allclose(found, latents.transform_matrix(*MOTION), atol=1e-6)


def test_gradient_of_the_transform_matrix():
    motion = tf.constant(MOTION, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(motion)
        matrix = latent_ops.transform_matrix(motion)[0]
    step = 1e-3  # rounding to 2**-24 makes errors of 1e-4
    for column, found in enumerate(tf.unstack(tape.jacobian(matrix, motion), axis=-1)):
        change = step * np.eye(3)[column]
        above, below = latents.transform_matrix(*(MOTION + change)), latents.transform_matrix(*(MOTION - change))
        np.testing.assert_allclose(found, (above - below) / (2 * step), atol=2e-4)


@pytest.mark.parametrize("psi", [1.0, 0.5])
@pytest.mark.parametrize("cutoff", [-1, np.int64(-2), np.array(-1)])
def test_negative_cutoffs_are_refused(psi, cutoff):
    """They would count from the end in one version, and from the start in the other."""
    ws, w_avg = random(3, 4, 5), random(5, seed=1)
    with pytest.raises(ValueError, match=r"^cutoff=-\d: give 0 or more"):
        latents.truncate(ws, w_avg, psi, cutoff)
    for given in (cutoff, tf.constant(cutoff)):
        with pytest.raises(ValueError, match=r"^truncation_cutoff=-\d: give 0 or more"):
            latent_ops.truncate(tf.constant(ws), tf.constant(w_avg), psi, given)


def test_cutoffs_of_other_types():
    ws, w_avg = random(3, 4, 5), random(5, seed=1)
    expected = latents.truncate(ws, w_avg, 0.5, 2)
    truncate = tf.function(lambda cutoff: latent_ops.truncate(tf.constant(ws), tf.constant(w_avg), 0.5, cutoff))
    for cutoff in (np.int64(2), np.array(2), tf.constant(2)):
        np.testing.assert_array_equal(latents.truncate(ws, w_avg, 0.5, np.asarray(cutoff)), expected)
        found = latent_ops.truncate(tf.constant(ws), tf.constant(w_avg), 0.5, cutoff)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(truncate(tf.constant(2)), expected, rtol=0, atol=1e-6)
