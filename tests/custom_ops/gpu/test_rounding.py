"""The emulation of the tensor-core kernel's roundings."""

import numpy as np
import pytest
import tensorflow as tf

from custom_ops.gpu.rounding import emulate, round_taps
from sg3tf.models.filters import low_pass
from sg3tf.ops import filtered_lrelu

TAPS = low_pass(12, cutoff=4, half_width=4, sampling_rate=32)
ARGUMENTS = {"up": 2, "down": 2, "pad": (9, 8, 9, 8), "gain": 2**0.5, "slope": 0.2, "clamp": 30.0}


def relative_error(y: tf.Tensor, exact: tf.Tensor) -> float:
    difference = np.asarray(y, np.float64) - np.asarray(exact)
    return float(np.sqrt(np.mean(difference**2) / np.mean(np.square(exact))))


def test_emulation() -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(20 * rng.standard_normal((2, 20, 20, 16)), tf.float16)  # some samples are clamped
    bias = tf.constant(rng.standard_normal(16), tf.float16)
    exact = filtered_lrelu(tf.cast(x, tf.float64), TAPS, TAPS, tf.cast(bias, tf.float64), **ARGUMENTS)
    output_alone = relative_error(tf.cast(exact, tf.float16), exact)
    # Its passes are those of the operation. The error of float32 is 1000 times less than that of the output.
    passes = emulate(x, TAPS, TAPS, bias, rounds=False, **ARGUMENTS)
    assert relative_error(passes, exact) == pytest.approx(output_alone, rel=1e-2)
    # Rounded are the image after each of two passes, with a remainder after the third, and three filters: independent
    # errors of at most the size of the output's add up to sqrt(6) of it, and filtering reduces them.
    assert output_alone < relative_error(emulate(x, TAPS, TAPS, bias, **ARGUMENTS), exact) < 6**0.5 * output_alone


def test_round_taps_keeps_the_sums_of_phases() -> None:
    taps = np.asarray(TAPS, np.float64) * 2
    rounded = round_taps(taps, 2)
    np.testing.assert_array_equal(rounded, rounded.astype(np.float16))
    spacing = np.spacing(np.abs(rounded).astype(np.float16)).astype(np.float64)
    assert np.all(np.abs(rounded - taps) <= 1.5 * spacing)  # the next one, or the one after
    for phase in range(2):
        missing = abs(np.sum(rounded[phase::2] - taps[phase::2]))
        assert missing <= spacing[phase::2].min()
        assert missing < abs(np.sum(taps[phase::2].astype(np.float16).astype(np.float64) - taps[phase::2]))
