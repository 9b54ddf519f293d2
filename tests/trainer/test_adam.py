"""Adam's updates against the published formula in float64, and which variables a phase updates."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import tiny_run
from trainer.adam import BETA2, EPSILON, Adam, lazy_adam
from trainer.loop import make_random_inputs
from trainer.random_inputs import LabelArray
from trainer.state import TrainState
from trainer.step import TrainStep

BATCH, STEPS = 8, 5
EPS = np.finfo(np.float32).eps


class Published:
    """Adam without momentum in float64: epsilon after the bias correction, and a count of updates for each variable."""

    def __init__(self, rate, beta_2, values):
        self.rate, self.beta_2 = rate, beta_2
        self.values = {name: value.astype(np.float64) for name, value in values.items()}
        self.squares = {name: 0.0 for name in values}
        self.counts = dict.fromkeys(values, 0)

    def apply(self, gradients):
        for name, gradient in gradients.items():
            g = gradient.astype(np.float64)
            self.counts[name] += 1
            self.squares[name] = self.beta_2 * self.squares[name] + (1 - self.beta_2) * g**2
            unbiased = self.squares[name] / (1 - self.beta_2 ** self.counts[name])
            self.values[name] = self.values[name] - self.rate * g / (np.sqrt(unbiased) + EPSILON)


def rounding(values, rate, updates):
    """Rounding errors of weights after some updates in float32, each of about `rate`: ten operations and a sum."""
    return updates * EPS * (np.abs(values) + 20 * rate)


def test_epsilon_is_added_after_the_bias_correction():
    """Gradients of about epsilon, as the mapping network has: keras.optimizers.Adam would take a tenth of the step."""
    gradients = np.float32([1e-6, 1e-7, 1e-8, 1e-9, -1e-8])
    weight, optimizer = tf.Variable(tf.zeros([5])), Adam(0.0025)
    published = Published(0.0025, BETA2, {"w": weight.numpy()})
    for factor in (1.0, 0.5, -2.0):
        optimizer.apply([tf.constant(factor * gradients)], [weight])
        published.apply({"w": factor * gradients})
    bound = rounding(published.values["w"], 0.0025, 3)
    assert np.all(np.abs(weight.numpy() - published.values["w"]) <= bound)


def test_a_variable_that_is_left_out_keeps_its_value_and_its_count():
    weights = [tf.Variable([1.0]), tf.Variable([1.0])]
    optimizer = Adam(0.1)
    published = Published(0.1, BETA2, {"0": np.ones(1), "1": np.ones(1)})
    optimizer.build(weights)
    for reached in ([0, 1], [0], [0], [1], [0, 1]):
        before = [weight.numpy() for weight in weights]
        optimizer.apply([tf.constant([0.3 + i]) for i in reached], [weights[i] for i in reached])
        published.apply({str(i): np.float32([0.3 + i]) for i in reached})
        for i in {0, 1} - set(reached):
            assert weights[i].numpy() == before[i]
    assert optimizer.counts.numpy().tolist() == [4, 3]
    for i, weight in enumerate(weights):
        assert abs(weight.numpy() - published.values[str(i)]) <= rounding(1.0, 0.1, 4)


def test_a_graph_counts_every_call():
    weight, optimizer = tf.Variable([1.0]), Adam(0.1)
    optimizer.build([weight])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [weight]))
    published = Published(0.1, BETA2, {"w": np.ones(1)})
    for g in np.float32([[1.0], [0.1], [-0.5]]):
        apply(tf.constant(g))
        published.apply({"w": g})
    assert optimizer.counts.numpy().tolist() == [3]
    assert abs(weight.numpy() - published.values["w"]) <= rounding(1.0, 0.1, 3)


# --- Steps with penalties ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(faces):
    """(state at the end, {part: [gradients by name of each update]}, {part: weights at the start}) of StyleGAN2."""
    tf.config.run_functions_eagerly(True)
    options = tiny_run.options(
        faces, cfg="stylegan2", gamma=0.1, r1_interval=2, pl_weight=2.0, pl_interval=2, style_mixing=0.9, glr=0.002
    )
    state = TrainState(options)
    inputs = make_random_inputs(options, state, LabelArray(np.zeros([1, 0], np.float32)))
    names = {part: name_by_id(getattr(state, part)) for part in "GD"}
    start = {part: weights_of(getattr(state, part)) for part in "GD"}
    updates = {"G": [], "D": []}

    def spied(part, optimizer):
        plain = optimizer.apply

        def apply(gradients, variables):
            updates[part].append({names[part][id(v)]: g.numpy() for g, v in zip(gradients, variables, strict=True)})
            plain(gradients, variables)

        optimizer.apply = apply

    spied("G", state.g_optimizer)
    spied("D", state.d_optimizer)
    train_step = TrainStep(state, options, tf.distribute.get_strategy(), inputs)
    images = np.random.default_rng(0).integers(0, 256, [STEPS, BATCH, 16, 16, 3], np.uint8)
    for batch in images:
        train_step.run((batch, np.zeros([BATCH, 0], np.float32)))
    tf.config.run_functions_eagerly(False)
    return state, updates, start


def name_by_id(model):
    return {id(v): v.path.partition("/")[2] for v in model.trainable_variables}


def weights_of(model):
    return {v.path.partition("/")[2]: v.numpy() for v in model.trainable_variables}


def test_path_lengths_and_r1_leave_additive_biases_alone(trained):
    """Biases of ToRGB layers add to images, and D's last one adds to logits: no derivative depends on them."""
    _, updates, start = trained
    penalties = {"G": [1, 4, 7], "D": [1, 4, 7]}  # after the loss, in steps 0, 2 and 4
    additive = {"G": {f"b{size}.torgb/bias" for size in (4, 8, 16)}, "D": {"out/bias"}}
    for part, every in updates.items():
        assert len(every) == STEPS + 3
        for index, gradients in enumerate(every):
            expected = set(start[part]) - (additive[part] if index in penalties[part] else set())
            assert set(gradients) == expected


@pytest.mark.parametrize(("part", "rate", "interval"), [("G", 0.002, 2), ("D", 0.002, 2)])
def test_weights_follow_the_published_adam(trained, part, rate, interval):
    state, updates, start = trained
    share = interval / (interval + 1)
    published = Published(rate * share, BETA2**share, start[part])
    for gradients in updates[part]:
        published.apply(gradients)
    assert sorted(set(published.counts.values())) == [STEPS, STEPS + 3]
    for name, weight in weights_of(getattr(state, part)).items():
        expected = published.values[name]
        bound = rounding(np.maximum(np.abs(expected), np.abs(start[part][name])), rate * 3, STEPS + 3)
        assert np.all(np.abs(weight - expected) <= bound), (name, np.max(np.abs(weight - expected) / bound))


def test_lazy_regularization_shortens_the_updates():
    optimizer = lazy_adam(0.002, 16)
    assert float(optimizer.learning_rate) == pytest.approx(0.002 * 16 / 17)
    assert optimizer.beta_2 == pytest.approx(0.99 ** (16 / 17))
