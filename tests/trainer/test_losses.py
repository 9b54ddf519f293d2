"""Losses, penalties and running statistics of one training step."""

from __future__ import annotations

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Discriminator, Generator
from sg3tf.convert import weights
from sg3tf.models.seeded_normal import standard_normal
from tests.helpers.numerics import nhwc, relative_error
from tests.helpers.official_networks import parameters
from trainer import losses
from trainer.inputs import (
    DiscriminatorInputs,
    FakeInputs,
    Latents,
    PathLengthInputs,
    PseudoRealInputs,
    RealInputs,
    View,
)


def named(model):
    """{official parameter name: variable} of a model."""
    return {name: variable for name, variable, _ in weights._parameters(model)}


def state_of(G=None, D=None, gamma=0.0, augment=None, **regularization):
    """The part of a training state that losses read."""
    weights = losses.Regularization(gamma, **regularization)
    return types.SimpleNamespace(
        G=G, D=D, augment=augment, regularization=weights, pl_mean=tf.Variable(0.0), lecam_means=None
    )


@pytest.fixture(scope="module")
def step(golden):
    """Networks and inputs of the reference: (golden arrays, G, D)."""
    arrays = golden("training_step")
    common = {"resolution": 32, "label_dim": 4, "channel_base": 512, "channel_max": 24}
    G = Generator.from_preset("stylegan3-t", **common, z_dim=20, w_dim=16)
    D = Discriminator.from_preset("stylegan3-t", **common, mbstd_group_size=int(arrays["mbstd_group_size"]))
    for prefix, model in (("G/", G), ("D/", D)):
        weights.load_arrays(model, parameters(arrays, prefix))
    return arrays, G, D


def gradient_norms(tape, loss, model):
    variables = named(model)
    trained = {n: v for n, v in variables.items() if v.trainable}
    gradients = tape.gradient(loss, [v.value for v in trained.values()])
    return {name: 0.0 if g is None else float(tf.norm(g)) for name, g in zip(trained, gradients, strict=True)}


def assert_norms(got, arrays, phase, of_whole=1e-5):
    """Compare the norms of the reference to 1e-4, or to `of_whole` of the norm of the phase's whole gradient."""
    prefix = f"{phase}/grad_norm/"
    expected = {k.removeprefix(prefix): float(v) for k, v in arrays.items() if k.startswith(prefix)}
    assert len(expected) > 20
    floor = of_whole * np.linalg.norm(list(expected.values()))
    wrong = {n: (got[n], e) for n, e in expected.items() if not abs(got[n] - e) <= max(1e-4 * e, floor)}
    assert not wrong


def test_generator_gradients(step):
    arrays, G, D = step
    with tf.GradientTape() as tape:
        inputs = FakeInputs(Latents(arrays["z"], arrays["c"]), View())
        loss = tf.reduce_mean(losses.generator_phase(state_of(G, D), inputs)[0])
    assert_norms(gradient_norms(tape, loss, G), arrays, "Gmain")


def test_discriminator_gradients_and_running_statistics(step):
    arrays, G, D = step
    before = G.get_weights()
    with tf.GradientTape() as tape:
        real = RealInputs(tf.constant(nhwc(arrays["real_nchw"])), arrays["c"], View())
        fake = FakeInputs(Latents(arrays["z"], arrays["c"]), View())
        loss, metrics = losses.discriminator_phase(state_of(G, D), DiscriminatorInputs(real, fake))
        loss = tf.reduce_mean(loss)
    assert relative_error(metrics["Loss/scores/real"].numpy(), arrays["logits_real"][:, 0]) < 1e-4
    assert_norms(gradient_norms(tape, loss, D), arrays, "Dmain")
    updated = parameters(arrays, "Dmain/updated/")
    assert len(updated) == 16
    for name, value in updated.items():
        assert relative_error(named(G)[name].numpy(), value) < 1e-6, name
    G.set_weights(before)


def test_r1_gradients(step):
    arrays, _, D = step
    gamma = float(arrays["r1_gamma"])
    with tf.GradientTape() as tape:
        real = RealInputs(tf.constant(nhwc(arrays["real_nchw"])), arrays["c"], View())
        loss = tf.reduce_mean(losses.r1_phase(state_of(D=D, gamma=gamma, r1_interval=1), real)[0])
    # Biases, 1 % of the whole, act through the second derivative of the minibatch standard deviation alone, which
    # divides by its cube: rounding alone moves them by 1.4e-4 (the reference, against our code run in float64),
    # 3e-4 (ours, "xla") or 1.1e-3 ("matmul") of themselves, 3e-5 of the whole.
    assert_norms(gradient_norms(tape, loss, D), arrays, "Dreg", of_whole=1e-4)


def test_r1_is_the_squared_gradient_of_the_logits():
    """Without the reference: central differences along the direction of the gradient, in float32."""
    keras.utils.set_random_seed(0)
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
    assert float(losses.r1_penalty(state_of(D=D), images, None, View())[0][0]) == pytest.approx(slope**2, rel=0.02)


def test_blur_golden(golden):
    arrays = golden("training_step")
    blurred = losses.blur(tf.constant(nhwc(arrays["real_nchw"])), 4.0)
    assert relative_error(blurred.numpy(), nhwc(arrays["blur_sigma4/real_nchw"])) < 1e-5


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5, 1.7, 10.0])
def test_blur_against_direct_sum(sigma):
    image = np.random.RandomState(0).randn(12, 9)
    reach = int(np.floor(3 * sigma))
    index = np.arange(-reach, reach + 1)
    taps = np.exp2(-((index / max(sigma, 1e-9)) ** 2))
    taps /= taps.sum()
    expected = np.zeros_like(image)
    for y in range(12):
        for x in range(9):
            for dy, a in zip(index, taps, strict=True):
                for dx, b in zip(index, taps, strict=True):
                    if 0 <= y + dy < 12 and 0 <= x + dx < 9:
                        expected[y, x] += a * b * image[y + dy, x + dx]
    got = losses.blur(tf.constant(image[None, ..., None], tf.float32), tf.constant(sigma))
    assert relative_error(got.numpy()[0, ..., 0], expected) < 1e-6


# --- Style mixing and path lengths ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path_length(golden):
    """The reference's StyleGAN2 generator: (golden arrays, G, latents)."""
    arrays = golden("path_length")
    G = Generator.from_preset(
        "stylegan2", 32, label_dim=3, z_dim=16, w_dim=16, mapping_layers=4, channel_base=256, channel_max=24
    )
    weights.load_arrays(G, parameters(arrays, "G/"))
    return arrays, G, Latents(tf.constant(arrays["z"]), tf.constant(arrays["c"]))


def with_directions(monkeypatch, y):
    """Make the random images of path lengths `y`, [N, H, W, C] and divided by sqrt(H W) already."""
    side = y.shape[1]
    monkeypatch.setattr(losses, "standard_normal", lambda seeds, count: tf.reshape(y, [-1, count]) * side)


def test_path_lengths_golden(path_length, golden, monkeypatch):
    """The reference's gradient is that of the penalty, times its weight 2, and of <image, cotangent> together."""
    arrays, G, latents = path_length
    other = golden("generator_sg2_32")
    with_directions(monkeypatch, nhwc(arrays["pl_noise_nchw"]))
    directions, state = tf.zeros([4, 2], tf.int32), state_of(G, pl_weight=2.0, pl_interval=1)
    _, lengths = losses.path_length_penalty(G, latents, directions, tf.Variable(0.0))
    with tf.GradientTape() as tape:
        loss, _ = losses.path_length_phase(state, PathLengthInputs(latents, directions))
        images = G.synthesis(tf.constant(other["ws"]))
        loss = tf.reduce_mean(loss)
        both = loss + tf.reduce_sum(images * nhwc(other["image_cotangent"]))
    assert relative_error(lengths.numpy(), arrays["pl_lengths"]) < 1e-5
    assert float(loss) == pytest.approx(float(arrays["pl_loss"]), rel=1e-5)
    assert float(state.pl_mean) == pytest.approx(0.01 * np.mean(arrays["pl_lengths"]), rel=1e-5)
    norms = gradient_norms(tape, both, G)
    expected = {k.removeprefix("grad_norm/"): float(v) for k, v in arrays.items() if k.startswith("grad_norm/")}
    assert len(expected) > 45
    assert {n: (norms[n], e) for n, e in expected.items() if not abs(norms[n] - e) <= 1e-4 * e} == {}


def test_path_lengths_of_a_linear_generator():
    """For image = A w the length is |A^T y|, independent of w."""

    class Linear:
        num_ws, matrix = 2, tf.constant(np.random.default_rng(0).normal(size=[3, 4 * 4 * 1]), tf.float32)

        def mapping(self, z, label, update_emas=False):
            return tf.repeat(z[:, None], self.num_ws, axis=1)

        def synthesis(self, ws, noise="const"):
            return tf.reshape(tf.reduce_sum(ws, axis=1) @ self.matrix, [-1, 4, 4, 1])

    latents = Latents(tf.random.stateless_normal([2, 3], [0, 0]), None)
    seeds, mean = tf.constant([[1, 2], [3, 4]]), tf.Variable(5.0)
    penalty, lengths = losses.path_length_penalty(Linear(), latents, seeds, mean)
    y = standard_normal(seeds, 16).numpy() / 4
    expected = np.linalg.norm(Linear.matrix.numpy() @ y.T, axis=0)
    np.testing.assert_allclose(lengths, expected, rtol=1e-5)
    moved = 5 + 0.01 * (expected.mean() - 5)
    assert float(mean) == pytest.approx(moved)
    np.testing.assert_allclose(penalty, (expected - moved) ** 2, rtol=1e-4)


def test_an_overflowing_image_leaves_the_mean_path_length_as_it_was(path_length, monkeypatch):
    arrays, G, latents = path_length
    directions, mean = nhwc(arrays["pl_noise_nchw"]), tf.Variable(0.5)
    with_directions(monkeypatch, directions * np.float32([np.nan, 1, 1, 1])[:, None, None, None])
    losses.path_length_penalty(G, latents, tf.zeros([4, 2], tf.int32), mean)
    assert float(mean) == 0.5


def test_style_mixing_takes_the_later_styles_of_the_other_latent(path_length):
    _, G, latents = path_length
    mixed = dataclasses.replace(latents, mix_z=latents.z[::-1], mix_from=tf.constant([1, 5, 8, 3]))
    second = dataclasses.replace(latents, z=mixed.mix_z)
    ws, own, other = (losses.styles(G, x).numpy() for x in (mixed, latents, second))
    for image, first in enumerate([1, 5, 8, 3]):
        np.testing.assert_array_equal(ws[image, :first], own[image, :first])
        np.testing.assert_array_equal(ws[image, first:], other[image, first:])
    assert not np.allclose(own[0], other[0])


def test_noise_of_an_image_is_its_own(path_length):
    _, G, latents = path_length
    seeds = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
    noisy = dataclasses.replace(latents, noise=seeds)
    images = losses.generate(G, noisy)
    assert not np.allclose(images, losses.generate(G, dataclasses.replace(latents, noise=seeds + 1)), atol=1e-3)
    alone = losses.generate(G, tf.nest.map_structure(lambda value: value[2:3], noisy))
    np.testing.assert_allclose(images[2:3], alone, atol=1e-5)


# --- Augmentation -----------------------------------------------------------------------------------------------------


def test_augmentation_comes_after_the_blur_and_r1_sees_through_both():
    D = Discriminator.from_preset("stylegan3-t", 16, channel_base=256, channel_max=8)
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 2], -1.0, 1.0)

    def half(x, params=None, p=None):
        return x[:, ::-1] / 2 + 0.25

    state, params = state_of(D=D, augment=half), tf.zeros([2, 1])
    logits = losses.discriminator_logits(state, images, None, View(tf.constant([2.0, 2.0]), params, params))
    np.testing.assert_allclose(logits, D(half(losses.blur(images, 2.0)))[:, 0], rtol=1e-6)
    x = half(losses.blur(images, 2.0))
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(D(x))
    by_images = losses.blur(tape.gradient(score, x) / 2, 2.0)  # the chain rule: the blur's matrix is symmetric
    expected = tf.reduce_sum(tf.square(by_images), axis=[1, 2, 3])
    penalty, seen = losses.r1_penalty(state, images, None, View(tf.constant([2.0, 2.0]), params, params))
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)
    np.testing.assert_allclose(seen, D(x)[:, 0], rtol=1e-6)


def test_images_to_float():
    assert losses.to_float(tf.constant([0, 51, 255], tf.uint8)).numpy() == pytest.approx([-1, -0.6, 1])
    assert losses.to_float(tf.constant([0.25])).numpy().tolist() == [0.25]


def test_penalties_are_weighted_by_their_interval():
    """Metrics report the loss itself; the gradient is that of `interval` steps."""
    D = Discriminator.from_preset("stylegan3-t", 16, channel_base=256, channel_max=8)
    inputs = RealInputs(tf.random.stateless_uniform([2, 16, 16, 3], [1, 2], -1.0, 1.0), None, View())
    loss, metrics = losses.r1_phase(state_of(D=D, gamma=3.0, r1_interval=8), inputs)
    np.testing.assert_allclose(metrics["Loss/D/reg"], 1.5 * metrics["Loss/r1_penalty"], rtol=1e-6)
    np.testing.assert_allclose(loss, 8 * metrics["Loss/D/reg"], rtol=1e-6)


# --- Relativistic loss: networks whose gradients are known ------------------------------------------------------------


class Multiple:
    """Generator of images [N, 1, 1, 1] that are the latents times a number."""

    num_ws = 1

    def __init__(self, theta):
        self.theta, self.updates = tf.Variable(theta), 0

    def mapping(self, z, label, update_emas=False):
        return z

    def synthesis(self, ws, update_emas=False, noise="const"):
        self.updates += update_emas
        return self.theta * tf.reshape(ws, [-1, 1, 1, 1])


class Slope:
    """Discriminator psi x + offset."""

    def __init__(self, psi, offset=0.0):
        self.psi, self.offset = tf.Variable(psi), offset

    def __call__(self, images, label=None):
        return self.psi * tf.reshape(images, [-1, 1]) + self.offset


def pairs(z, real):
    """Inputs of latents [N] and real images [N]."""
    z, real = (np.asarray(x, np.float32).reshape(-1, 1) for x in (z, real))
    label = np.zeros([len(z), 0], np.float32)
    reals = RealInputs(tf.constant(real[:, None, None]), label, View())
    return DiscriminatorInputs(reals, FakeInputs(Latents(tf.constant(z), label), View()))


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_relativistic_phases(offset):
    """Against formulas in float64; the logits' zero does not count."""
    z, real, theta, psi, gamma = np.array([1.0, -2.0, 0.5]), np.array([0.3, 4.0, -1.0]), 0.7, -1.5, 3.0
    state = state_of(Multiple(theta), Slope(psi, offset), gamma=gamma, r1_interval=4)
    fake = theta * z
    difference = psi * (real - fake)
    for phase, sign, updates in (
        (losses.relativistic_generator_phase, 1, 0),
        (losses.relativistic_discriminator_phase, -1, 1),
    ):
        with tf.GradientTape() as tape:
            loss, metrics = phase(state, pairs(z, real))
        np.testing.assert_allclose(loss, np.log1p(np.exp(sign * difference)), rtol=1e-5 if not offset else 1e-4)
        np.testing.assert_array_equal(metrics["Loss/signs/real"], np.sign(difference))
        np.testing.assert_array_equal(metrics["Loss/signs/fake"], -np.sign(difference))
        np.testing.assert_allclose(metrics["Loss/scores/fake"], psi * fake + offset, rtol=1e-5)
        slopes = sign / (1 + np.exp(-sign * difference))
        by_theta, by_psi = tape.gradient(loss, [state.G.theta, state.D.psi])
        np.testing.assert_allclose(by_psi, np.sum(slopes * (real - fake)), rtol=1e-4)
        if sign > 0:
            np.testing.assert_allclose(by_theta, np.sum(slopes * -psi * z), rtol=1e-4)
        else:
            assert by_theta is None  # the discriminator's phase leaves the generator alone
        assert state.G.updates == updates
    loss, metrics = losses.r1_r2_phase(state, pairs(z, real))
    np.testing.assert_allclose(metrics["Loss/r1_penalty"], [psi**2] * 3)
    np.testing.assert_allclose(metrics["Loss/r2_penalty"], [psi**2] * 3)
    np.testing.assert_allclose(loss, [4 * gamma / 2 * 2 * psi**2] * 3)


def test_r2_is_of_the_generated_images():
    """A discriminator psi x^2 has the slope 2 psi x."""
    state = state_of(Multiple(2.0), lambda images, label: 1.5 * tf.square(tf.reshape(images, [-1, 1])), gamma=1.0)
    _, metrics = losses.r1_r2_phase(state, pairs([1.0, -0.5], [0.0, 3.0]))
    np.testing.assert_allclose(metrics["Loss/r1_penalty"], [0, 81])
    np.testing.assert_allclose(metrics["Loss/r2_penalty"], [36, 9])


def dirac_gan(loss, rate=0.2):
    """The Dirac-GAN (arXiv 1801.04406, section 3), whose real images are 0.

    Returns:
        (state, function) where the function makes one gradient step in each phase, and returns theta and psi.
    """
    state = state_of(Multiple(1.0), Slope(1.0), gamma=tf.Variable(0.0), r1_interval=1)
    inputs = pairs([1.0], [0.0])
    phases = losses.LOSSES[loss]

    @tf.function
    def step():
        for phase, variable in zip(phases, (state.G.theta, state.D.psi, state.D.psi), strict=True):
            given = inputs.fake if phase is losses.generator_phase else inputs
            given = inputs.real if phase is losses.r1_phase else given
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(phase(state, given)[0])
            variable.assign_sub(rate * tape.gradient(value, variable))
        return tf.stack([state.G.theta, state.D.psi])

    return state, step


@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_dirac_gan(loss):
    """Cycles without penalties and converges with them, with the rate of the system linearized about 0.

    That is theta' = psi / 2, psi' = -theta / 2 - c psi with c = gamma for R1, and 2 gamma for R1 and R2: for c < 1 its
    eigenvalues have the real part -c / 2, that is a factor exp(-c / 2 * 0.2 * 450) in 450 steps of 0.2. Without
    penalties the squared distance shrinks by 2 theta psi tanh(theta psi / 2) only, of fourth order in the distance.
    """
    state, step = dirac_gan(loss)

    def distance_after_training(gamma):
        """Largest of the last tenth."""
        state.regularization.gamma.assign(gamma)
        state.G.theta.assign(1.0)
        state.D.psi.assign(1.0)
        return max([np.linalg.norm(step()) for _ in range(500)][-50:])

    assert distance_after_training(0.0) > 0.2
    c = 0.2
    gamma = c if loss == "logistic" else c / 2
    assert distance_after_training(gamma) < 10 * np.exp(-c / 2 * 0.2 * 450)


@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_band_of_gamma_that_trains(loss):
    """Steps of size h about 0 are the product of three matrices, which has the determinant 1 - h c.

    One for each phase: theta += h psi / 2; psi -= h theta / 2; psi *= 1 - h c. The largest eigenvalue is below 1 for
    0 < h c < 1, and smallest in between: gamma may be too small or too large, and its band ends at 1 / h, half as far
    for R1 and R2 together. From (0.02, 0.02) the sigmoid is within theta psi / 4 = 1e-4 of 1/2, a share of 2e-4, which
    in 400 steps of h / 2 moves the result by 400 h / 2 * 2e-4 = 0.8 % of the distance at the start.
    """
    h, steps, start = 0.2, 400, np.array([0.02, 0.02])
    state, step = dirac_gan(loss, h)
    shrinks = []
    for hc in (0.0, 0.002, 0.02, 0.2, 0.6, 0.95, 1.05, 1.5):
        linear = np.diag([1, 1 - hc]) @ [[1, 0], [-h / 2, 1]] @ [[1, h / 2], [0, 1]]
        state.regularization.gamma.assign(hc / h if loss == "logistic" else hc / h / 2)
        state.G.theta.assign(start[0])
        state.D.psi.assign(start[1])
        for _ in range(steps - 1):
            step()
        found = step().numpy()
        np.testing.assert_allclose(found, np.linalg.matrix_power(linear, steps) @ start, atol=0.01 * 0.02)
        shrinks.append(bool(np.linalg.norm(found) < np.linalg.norm(start) / 2))
    assert shrinks == [False, False, True, True, True, False, False, False]


# --- LeCam regularization ---------------------------------------------------------------------------------------------


def test_lecam_penalty():
    """Against the formula, with averages of earlier steps in which the gradient has no part."""
    z, real, theta, psi, weight = np.array([1.0, -2.0]), np.array([0.3, 4.0]), 0.7, -1.5, 0.3
    state = state_of(Multiple(theta), Slope(psi), lecam=weight)
    plain, _ = losses.discriminator_phase(state, pairs(z, real))
    state.lecam_means = tf.Variable([0.4, -0.2])
    with tf.GradientTape() as tape:
        loss, metrics = losses.discriminator_phase(state, pairs(z, real))
    fake_logits, real_logits = psi * theta * z, psi * real
    penalty = (real_logits + 0.2) ** 2 + (fake_logits - 0.4) ** 2
    np.testing.assert_allclose(metrics["Loss/lecam_penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(loss, plain + weight * penalty, rtol=1e-5)
    moved = [0.4 + 0.01 * (real_logits.mean() - 0.4), -0.2 + 0.01 * (fake_logits.mean() + 0.2)]
    np.testing.assert_allclose(state.lecam_means, moved, rtol=1e-5)
    by_psi = tape.gradient(loss, state.D.psi)
    slopes = weight * 2 * ((real_logits + 0.2) * real + (fake_logits - 0.4) * theta * z)
    logistic = real * -1 / (1 + np.exp(real_logits)) + theta * z / (1 + np.exp(-fake_logits))
    np.testing.assert_allclose(by_psi, np.sum(slopes + logistic), rtol=1e-4)


def test_parts_of_a_batch_move_the_means_of_lecam_as_far_as_the_whole():
    """Logits that are the same in all parts, so that only the number of moves counts."""
    fake, real = tf.constant([1.0, -3.0]), tf.constant([5.0, 1.0])
    for num_parts in (1, 4):
        means = tf.Variable([0.5, 0.5])
        for _ in range(num_parts):
            losses.lecam_penalty(fake, real, means, num_parts)
        np.testing.assert_allclose(means, [0.5 + 0.01 * (3 - 0.5), 0.5 + 0.01 * (-1 - 0.5)], rtol=1e-5)


def test_an_overflow_leaves_the_means_as_they_were():
    """A mean that is not finite would stay so for the rest of the run."""
    real, fake, means = tf.constant([5.0, 1.0]), tf.constant([1.0, np.inf]), tf.Variable([0.5, 0.25])
    losses.lecam_penalty(fake, real, means)
    np.testing.assert_allclose(means, [0.5 + 0.01 * (3 - 0.5), 0.25], rtol=1e-5)


# --- Generated images in place of real ones ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_pseudo_images_are_taken_for_real(loss):
    """As if they and their labels were in the batch; without gradients to the generator."""
    inputs = pairs([1.0, -2.0, 0.5], [0.3, 4.0, -1.0])
    other, replaced = np.float32([[3.0], [5.0], [-4.0]]), np.array([False, True, True])
    label = np.eye(2, dtype=np.float32)
    latents = Latents(tf.constant(other), tf.constant(label[[1, 1, 1]]))
    real = dataclasses.replace(inputs.real, label=tf.constant(label[[0, 0, 0]]))
    with_pseudo = dataclasses.replace(real, pseudo=PseudoRealInputs(latents, tf.constant(replaced)))
    images = np.where(replaced[:, None, None, None], 0.7 * other[:, None, None], real.images).astype(np.float32)
    by_hand = dataclasses.replace(real, images=tf.constant(images), label=tf.constant(label[[0, 1, 1]]))

    def judge(images, label):
        """Depends on the labels and has different slopes everywhere."""
        return -1.5 * tf.reshape(images, [-1, 1]) ** 3 + tf.reduce_sum(label * [[2.0, 5.0]], axis=1, keepdims=True)

    state = state_of(Multiple(0.7), judge, gamma=1.0)
    _, discriminator_phase, penalty_phase = losses.LOSSES[loss]
    fake = dataclasses.replace(inputs.fake, latents=dataclasses.replace(inputs.fake.latents, label=latents.label))
    for phase in (discriminator_phase, penalty_phase):
        alone = phase is losses.r1_phase
        with tf.GradientTape() as tape:
            found, metrics = phase(state, with_pseudo if alone else DiscriminatorInputs(with_pseudo, fake))
        expected, expected_metrics = phase(state, by_hand if alone else DiscriminatorInputs(by_hand, fake))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        for name, values in expected_metrics.items():
            np.testing.assert_allclose(metrics[name], values, rtol=1e-6, err_msg=name)
        assert tape.gradient(found, state.G.theta) is None
