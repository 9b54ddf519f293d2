"""`numpy.random.RandomState(seed).randn(z_dim)` as a TensorFlow graph of stock ops.

Generated images are commonly identified by the seed of NumPy's legacy generator. A SavedModel cannot call NumPy, so
this file reproduces that generator: MT19937 (Matsumoto and Nishimura 1998), 53-bit doubles, and Marsaglia's polar
method.

Words of 32 bits are kept in int64 tensors: their products stay below 2^63, and every device has kernels for them.
"""

import math
from typing import Any

import tensorflow as tf

_STATE_WORDS = 624
_SHIFT = 397
_WORDS_PER_PAIR = 4
_SEEDING_UNROLL = 24
# For a given seed, the generated words are too few with a probability below 2^-64. There are 2^32 seeds, so the
# probability that any of them fails is below 2^-32.
_FAILURE_BITS = 64


def z_from_seeds(seeds: tf.Tensor, z_dim: int) -> tf.Tensor:
    """Return the latents of NumPy seeds.

    Args:
        seeds: [N] int64, each from 0 to 2**32-1.
        z_dim: length of one latent, static.

    Returns:
        [N, z_dim] float32, equal to `np.random.RandomState(seed).randn(z_dim).astype(np.float32)`.

    Raises:
        tf.errors.InvalidArgumentError: a seed out of NumPy's range.
    """
    return tf.cast(_randn(seeds, z_dim), tf.float32)


def _randn(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Return float64 normals [N, count] for int64 seeds [N]; only log and sqrt may round differently in NumPy."""
    last = tf.constant(2**32 - 1, tf.int64)
    tf.debugging.assert_non_negative(seeds, "seed must be from 0 to 2**32-1")
    tf.debugging.assert_less_equal(seeds, last, "seed must be from 0 to 2**32-1")
    state = _initial_state(seeds)
    num_pairs = (count + 1) // 2
    blocks = []
    for _ in range(_num_blocks(num_pairs)):
        state = _twist(state)
        blocks.append(_temper(state))
    return _polar_gauss(_doubles(tf.concat(blocks, axis=1)), num_pairs)[:, :count]


def _num_blocks(num_pairs: int) -> int:
    """Number of 624-word blocks that hold `num_pairs` accepted pairs, except with probability 2^-64.

    A pair is accepted with probability p = pi/4. By Chernoff's bound, fewer than k of n are accepted with probability
    at most exp(-n KL(k/n || p)) if k/n < p. For 256 pairs (z_dim 512) that gives three blocks and 2^-95.
    """
    accept = math.pi / 4
    blocks = 0
    while True:
        blocks += 1
        attempts = blocks * _STATE_WORDS // _WORDS_PER_PAIR
        share = num_pairs / attempts
        if share >= accept:
            continue
        divergence = share * math.log(share / accept)
        divergence += (1 - share) * math.log((1 - share) / (1 - accept))
        if attempts * divergence >= _FAILURE_BITS * math.log(2):
            return blocks


def _initial_state(seeds: tf.Tensor) -> tf.Tensor:
    """Initial state [N, 624] (init_genrand): word i = 1812433253 * (word ^ word >> 30) + i mod 2^32.

    The recurrence is not linear, hence a loop, unrolled to reduce its overhead.
    """

    def step(word: tf.Tensor, rows: tf.TensorArray, row: tf.Tensor) -> tuple[Any, ...]:
        words = []
        for offset in range(_SEEDING_UNROLL):
            words.append(word)
            index = tf.cast(row * _SEEDING_UNROLL + offset + 1, tf.int64)
            mixed = tf.bitwise.bitwise_xor(word, word // 2**30)
            word = tf.bitwise.bitwise_and(mixed * 1812433253 + index, 0xFFFFFFFF)
        return word, rows.write(row, tf.stack(words)), row + 1

    num_rows = _STATE_WORDS // _SEEDING_UNROLL
    rows = tf.TensorArray(tf.int64, num_rows)
    _, rows, _ = tf.while_loop(lambda word, rows, row: row < num_rows, step, (seeds, rows, tf.constant(0)))
    return tf.transpose(tf.reshape(rows.stack(), [_STATE_WORDS, -1]))


def _twist(state: tf.Tensor) -> tf.Tensor:
    """Next 624 words, in three strides: a new word depends on the new word 227 places before it."""
    stride = _STATE_WORDS - _SHIFT
    following = tf.concat([state[:, 1:], state[:, :1]], axis=1)
    new = _mix(state[:, :stride], following[:, :stride], state[:, _SHIFT:])
    for start in (stride, 2 * stride):
        stop = min(start + stride, _STATE_WORDS - 1)
        part = _mix(
            state[:, start:stop],
            following[:, start:stop],
            new[:, start - stride : stop - stride],
        )
        new = tf.concat([new, part], axis=1)
    # Only the last word depends on the first word of the new state.
    last = _mix(state[:, -1:], new[:, :1], new[:, _SHIFT - 1 : _SHIFT])
    return tf.concat([new, last], axis=1)


def _mix(word: tf.Tensor, following: tf.Tensor, shifted: tf.Tensor) -> tf.Tensor:
    upper = tf.bitwise.bitwise_and(word, 0x80000000)
    joined = tf.bitwise.bitwise_or(upper, tf.bitwise.bitwise_and(following, 0x7FFFFFFF))
    feedback = tf.bitwise.bitwise_and(joined, 1) * 0x9908B0DF
    return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(shifted, joined // 2), feedback)


def _temper(word: tf.Tensor) -> tf.Tensor:
    xor, both = tf.bitwise.bitwise_xor, tf.bitwise.bitwise_and
    word = xor(word, word // 2**11)
    word = xor(word, both(word * 2**7, 0x9D2C5680))
    word = xor(word, both(word * 2**15, 0xEFC60000))
    return xor(word, word // 2**18)


def _doubles(words: tf.Tensor) -> tf.Tensor:
    """Convert words [N, K] to float64 [N, K/2] in [0, 1): 27 bits of one word, 26 of the next."""
    high = tf.cast(words[:, 0::2] // 2**5, tf.float64)
    low = tf.cast(words[:, 1::2] // 2**6, tf.float64)
    return (high * 2.0**26 + low) / 2.0**53


def _polar_gauss(uniform: tf.Tensor, num_pairs: int) -> tf.Tensor:
    """Convert float64 [N, K] in [0, 1) to normals [N, 2*num_pairs], in NumPy's order."""
    x1 = 2.0 * uniform[:, 0::2] - 1.0
    x2 = 2.0 * uniform[:, 1::2] - 1.0
    squared = x1 * x1 + x2 * x2
    accepted = (squared < 1.0) & (squared > 0.0)
    attempts = squared.shape[1]
    # Earlier attempts have larger keys and rejected ones the smallest, so top_k keeps the order.
    order = tf.range(attempts, 0, -1)
    first = tf.math.top_k(tf.where(accepted, order, order - attempts), num_pairs).indices
    x1, x2, squared = (tf.gather(v, first, batch_dims=1) for v in (x1, x2, squared))
    factor = tf.sqrt(-2.0 * tf.math.log(squared) / squared)
    pairs = tf.stack([factor * x2, factor * x1], axis=2)
    return tf.reshape(pairs, [-1, 2 * num_pairs])
