"""Losses, penalties and running statistics of one training step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Discriminator, Generator
from sg3tf.interop import nvidia
from tests.numerics import nhwc, relative_error
from trainer import losses


def named(model):
    """{official parameter name: variable} of a model."""
    return {name: variable for name, variable, _ in nvidia._parameters(model)}


@pytest.fixture(scope="module")
def step(golden):
    """The reference's networks and inputs: (golden arrays, G, D)."""
    arrays = golden("training_step")
    common = {"resolution": 32, "label_dim": 4, "channel_base": 512, "channel_max": 24}
    G = Generator.from_preset("stylegan3-t", **common, z_dim=20, w_dim=16)
    D = Discriminator.from_preset("stylegan3-t", **common, mbstd_group_size=int(arrays["mbstd_group_size"]))
    for prefix, model in (("G/", G), ("D/", D)):
        nvidia.load_arrays(model, {k[2:]: v for k, v in arrays.items() if k.startswith(prefix)})
    return arrays, G, D


def gradient_norms(tape, loss, model):
    variables = named(model)
    trained = {n: v for n, v in variables.items() if v.trainable}
    gradients = tape.gradient(loss, [v.value for v in trained.values()])
    return {name: 0.0 if g is None else float(tf.norm(g)) for name, g in zip(trained, gradients, strict=True)}


def assert_norms(got, arrays, phase, of_whole=1e-5):
    """Every norm the reference lists to 1e-4, or to `of_whole` of the norm of the phase's whole gradient."""
    prefix = f"{phase}/grad_norm/"
    expected = {k.removeprefix(prefix): float(v) for k, v in arrays.items() if k.startswith(prefix)}
    assert len(expected) > 20
    floor = of_whole * np.linalg.norm(list(expected.values()))
    wrong = {n: (got[n], e) for n, e in expected.items() if abs(got[n] - e) > max(1e-4 * e, floor)}
    assert not wrong


def test_generator_gradients(step):
    arrays, G, D = step
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(losses.generator_loss(G, D, arrays["z"], arrays["c"])[0])
    assert_norms(gradient_norms(tape, loss, G), arrays, "Gmain")


def test_discriminator_gradients_and_running_statistics(step):
    arrays, G, D = step
    before = G.get_weights()
    with tf.GradientTape() as tape:
        fake, _ = losses.fake_loss(G, D, tf.constant(arrays["z"]), arrays["c"])
        real, logits = losses.real_loss(D, tf.constant(nhwc(arrays["real_nchw"])), arrays["c"])
        loss = tf.reduce_mean(fake + real)
    assert relative_error(logits.numpy(), arrays["logits_real"][:, 0]) < 1e-4
    assert_norms(gradient_norms(tape, loss, D), arrays, "Dmain")
    updated = {k.removeprefix("Dmain/updated/"): v for k, v in arrays.items() if k.startswith("Dmain/updated/")}
    assert len(updated) == 16
    for name, value in updated.items():
        assert relative_error(named(G)[name].numpy(), value) < 1e-6, name
    G.set_weights(before)


def test_r1_gradients(step):
    arrays, _, D = step
    gamma = float(arrays["r1_gamma"])
    with tf.GradientTape() as tape:
        penalty = losses.r1_penalty(D, tf.constant(nhwc(arrays["real_nchw"])), arrays["c"])
        loss = tf.reduce_mean(penalty) * gamma / 2
    # Biases, 1 % of the whole, act through the second derivative of the minibatch standard deviation alone, which
    # divides by its cube: rounding alone moves them by 1.4e-4 (the reference, against our code run in float64),
    # 3e-4 (ours, "xla") or 1.1e-3 ("matmul") of themselves, 3e-5 of the whole.
    assert_norms(gradient_norms(tape, loss, D), arrays, "Dreg", of_whole=1e-4)


def test_r1_is_the_squared_gradient_of_the_logits():
    """Independent of the reference: central differences along the gradient's own direction, in float32."""
    D = Discriminator.from_preset("stylegan3-t", 16, channel_base=256, channel_max=8)
    images = tf.random.stateless_uniform([1, 16, 16, 3], [1, 2], -1.0, 1.0)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = D(images)
    direction = tape.gradient(logits, images)
    direction /= tf.norm(direction)
    step = 1e-2
    slope = float((D(images + step * direction) - D(images - step * direction))[0, 0]) / (2 * step)
    # Piecewise linear network: the slope differs where the step crosses a kink.
    assert float(losses.r1_penalty(D, images, None)[0]) == pytest.approx(slope**2, rel=0.02)


def test_blur_golden(golden):
    arrays = golden("training_step")
    blurred = losses.blur(tf.constant(nhwc(arrays["real_nchw"])), 4.0)
    assert relative_error(blurred.numpy(), nhwc(arrays["blur_sigma4/real_nchw"])) < 1e-5


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5, 1.7, 10.0])
def test_blur_against_direct_sum(sigma):
    image = np.random.RandomState(0).randn(12, 12)
    reach = int(np.floor(3 * sigma))
    index = np.arange(-reach, reach + 1)
    taps = np.exp2(-((index / max(sigma, 1e-9)) ** 2))
    taps /= taps.sum()
    expected = np.zeros_like(image)
    for y in range(12):
        for x in range(12):
            for dy, a in zip(index, taps, strict=True):
                for dx, b in zip(index, taps, strict=True):
                    if 0 <= y + dy < 12 and 0 <= x + dx < 12:
                        expected[y, x] += a * b * image[y + dy, x + dx]
    got = losses.blur(tf.constant(image[None, ..., None], tf.float32), tf.constant(sigma))
    assert relative_error(got.numpy()[0, ..., 0], expected) < 1e-6
