"""Moving average of the generator: decay and update."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Generator
from trainer import step
from trainer.step_order import EMA_RAMP_UP, ema_decay


def kept(start_nimg, end_nimg, batch, half_life_nimg):
    """Share of the average at `start_nimg` that is left at `end_nimg`."""
    return np.prod([ema_decay(batch, n, half_life_nimg) for n in range(start_nimg, end_nimg, batch)])


@pytest.mark.parametrize("batch", [4, 40])
def test_half_is_kept_over_a_half_life(batch):
    assert kept(10**6, 10**6 + 10_000, batch, 10_000) == pytest.approx(0.5)


def test_ramp_up_closed_form():
    """While the half-life is 5 % of the images before a step, steps m + 1 to n keep 2^-(20 (1/m + ... + 1/(n-1)))."""
    steps = np.arange(10, 50)
    assert kept(10 * 8, 50 * 8, 8, 10_000) == pytest.approx(0.5 ** np.sum(20 / steps))


def test_ramp_up_ends_where_the_half_life_is_reached():
    end = 10_000 / EMA_RAMP_UP
    assert ema_decay(8, int(end), 10_000) == ema_decay(8, 10**9, 10_000) == 0.5 ** (8 / 10_000)
    assert ema_decay(8, int(end) - 8, 10_000) < ema_decay(8, int(end), 10_000)


def test_first_steps_keep_next_to_nothing():
    assert ema_decay(8, 0, 10_000) == 0
    assert ema_decay(8, 8, 10_000) == pytest.approx(2.0**-20)


@pytest.fixture(scope="module")
def generators():
    """Two generators with all variables random, constants and running statistics included."""
    made = []
    for seed in (1, 2):
        G = Generator.from_preset("stylegan3-t", 16, z_dim=8, w_dim=8, channel_base=64, channel_max=4)
        for index, variable in enumerate(G.variables):
            variable.assign(tf.random.stateless_normal(variable.shape, [seed, index]))
        made.append(G)
    return made


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_move_and_statistics_are_copied(generators, compiled):
    average, model = generators
    before = {v.path: v.numpy() for v in model.variables}
    expected = {
        # Trained weights: a quarter is kept.
        **{
            a.path: 0.25 * a.numpy() + 0.75 * m.numpy()
            for a, m in zip(average.trainable_variables, model.trainable_variables, strict=True)
        },
        **{
            a.path: m.numpy()
            for a, m in zip(average.non_trainable_variables, model.non_trainable_variables, strict=True)
        },
    }
    assert any("w_avg" in path for path in expected) and any("magnitude_ema" in path for path in expected)
    update = tf.function(step.update_ema) if compiled else step.update_ema
    update(average, model, tf.constant(0.25))
    for variable in average.variables:
        # Two products and a sum of numbers of order 1.
        np.testing.assert_allclose(variable.numpy(), expected[variable.path], rtol=0, atol=2e-6, err_msg=variable.path)
    for variable in average.non_trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), expected[variable.path])
    for variable in model.variables:
        np.testing.assert_array_equal(variable.numpy(), before[variable.path])


def test_keeping_nothing_gives_the_model_exactly(generators):
    average, model = generators
    step.update_ema(average, model, tf.constant(0.0))
    for a, m in zip(average.variables, model.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), m.numpy())
