"""NumPy's latents of seeds, computed in a graph."""

import numpy as np
import pytest
import tensorflow as tf

from serving import seeded_latents

EDGES = [0, 1, 623, 624, 2**31 - 1, 2**31, 2**32 - 1]


@pytest.mark.parametrize("z_dim", [512, 64, 17, 1])
def test_equals_numpy(z_dim):
    seeds = np.array(EDGES + np.random.default_rng(1).integers(0, 2**32, 200).tolist())
    function = tf.function(
        lambda s: (seeded_latents._randn(s, z_dim), seeded_latents.z_from_seeds(s, z_dim)),
        input_signature=[tf.TensorSpec([None], tf.int64)],
        autograph=False,
    )
    double, single = (value.numpy() for value in function(seeds))
    expected = np.stack([np.random.RandomState(seed).randn(z_dim) for seed in seeds])
    # Only log and sqrt may round differently: two units in the last place of a float64.
    np.testing.assert_allclose(double, expected, rtol=5e-16, atol=0)
    np.testing.assert_array_max_ulp(single, expected.astype(np.float32), maxulp=1)
    assert function(seeds[:3])[1].shape == (3, z_dim)
    assert function(seeds[:0])[1].shape == (0, z_dim)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(tf.errors.InvalidArgumentError, match="seed must be from 0 to 2"):
        seeded_latents.z_from_seeds(tf.constant([5, seed], tf.int64), 4)


def test_words_suffice_for_any_seed():
    # 3 blocks hold 468 attempts of which 256 must succeed: 12 standard deviations of slack.
    assert seeded_latents._num_blocks(256) == 3
    for pairs in (1, 32, 90, 122, 123, 400):
        attempts = 156 * seeded_latents._num_blocks(pairs)
        spread = np.sqrt(attempts * np.pi / 4 * (1 - np.pi / 4))
        assert attempts * np.pi / 4 - pairs > 7 * spread
