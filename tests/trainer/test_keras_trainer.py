"""StyleGANTrainer: compile and fit, and the same numbers as the exact loop."""

from __future__ import annotations

import contextlib
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Discriminator, Generator, StyleGAN3Generator
from sg3tf.data.dataset import open_dataset
from tests.helpers import tiny_run
from tests.helpers.dtype_policy import global_dtype_policy
from trainer import losses, stats
from trainer.inputs import BatchIterator
from trainer.keras_trainer import StyleGANTrainer
from trainer.loop import make_random_inputs
from trainer.state import TrainState
from trainer.step import TrainStep

SIZE = {"resolution": 16, "channel_base": 128, "channel_max": 8}
BATCH = 8


@pytest.fixture(scope="module", autouse=True)
def no_graphs():
    """Making the graphs takes longer than the few steps of these tests."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def make_trainer(label_dim=0, seed=0, preset="stylegan3-t", **arguments):
    keras.utils.set_random_seed(seed)
    G = Generator.from_preset(preset, **SIZE, label_dim=label_dim)
    D = Discriminator.from_preset(preset, **SIZE, label_dim=label_dim)
    trainer = StyleGANTrainer(G, D)
    trainer.compile(**{"gamma": 0.1, **arguments})
    return trainer


def images_of(count, dtype=np.uint8):
    images = np.random.default_rng(0).integers(0, 256, [count, 16, 16, 3], np.uint8)
    return images if dtype == np.uint8 else (images / 127.5 - 1).astype(dtype)


def weights_of(model):
    return [variable.numpy() for variable in model.trainable_variables]


def moved(before, model):
    """Share of the trained variables that have changed."""
    after = weights_of(model)
    return np.mean([not np.array_equal(a, b) for a, b in zip(before, after, strict=True)])


@pytest.fixture(scope="module")
def fitted():
    """(trainer, history, weights of G, D and G_ema before) after two epochs of two steps, with a callback."""
    trainer = make_trainer(augment_p=0.5, augment_target=-1.0, augment_kimg=0.1)
    before = {name: weights_of(getattr(trainer, name)) for name in ("G", "D", "G_ema")}
    shown = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shown.append(trainer.G_ema.predict(np.ones([2, 512]), verbose=0))
    )
    dataset = tf.data.Dataset.from_tensor_slices(images_of(2 * BATCH)).batch(BATCH)
    history = trainer.fit(dataset, epochs=2, verbose=0, callbacks=[callback])
    return trainer, history.history, before, shown


def test_losses_are_in_the_history_and_finite(fitted):
    trainer, history, _, _ = fitted
    assert set(history) == {"loss_G", "loss_D", "r_t", "r1", "augment_p"}
    assert all(len(values) == 2 and np.all(np.isfinite(values)) for values in history.values())
    assert history["r1"][0] > 0 and (trainer.step, trainer.cur_nimg) == (4, 4 * BATCH)


@pytest.mark.parametrize("name", ["G", "D"])
def test_weights_move(fitted, name):
    trainer, _, before, _ = fitted
    assert moved(before[name], getattr(trainer, name)) > 0.9


def test_average_follows_and_can_be_used_after_each_epoch(fitted):
    trainer, _, before, shown = fitted
    start, average, now = before["G"], weights_of(trainer.G_ema), weights_of(trainer.G)
    way, left = (np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(now, x, strict=True))) for x in (start, average))
    assert 0 < left < 0.1 * way  # the half-life is still short
    assert [images.shape for images in shown] == [(2, 16, 16, 3)] * 2 and not np.array_equal(*shown)
    np.testing.assert_array_equal(trainer.predict(np.ones([2, 512]), verbose=0), shown[1])


@pytest.mark.parametrize("ramp_up", [True, False])
def test_the_average_of_a_trained_network_lasts_without_a_ramp_up(ramp_up):
    """By default, the first step overwrites it with G. Otherwise it keeps 0.5 ** (8 / 8000) = 0.9993 of itself."""
    trainer = make_trainer(ema_kimg=8.0, ema_ramp_up=ramp_up, augpipe=None)
    trainer.G_ema.set_weights(Generator.from_preset("stylegan3-t", **SIZE).get_weights())  # others than those of G
    before = weights_of(trainer.G_ema)
    trainer.fit(tf.data.Dataset.from_tensors(images_of(BATCH)), verbose=0)
    for average, kept, now in zip(weights_of(trainer.G_ema), before, weights_of(trainer.G), strict=True):
        expected = now if ramp_up else kept + (1 - 0.5 ** (8 / 8000)) * (now - kept)
        rounding = 1e-6 * max(1.0, np.abs(kept).max(initial=0), np.abs(now).max(initial=0))
        np.testing.assert_allclose(average, expected, rtol=0, atol=rounding)


def test_augmentation_adapts(fitted):
    """Its target of -1 is always exceeded: after 4 steps p moves by 4 * 8 images of 100."""
    _, history, _, _ = fitted
    assert history["augment_p"] == [0.5, pytest.approx(0.5 + 0.32)]


def test_the_controller_gets_the_logits_of_r1_too():
    """Four steps, R1 in the first: the mean of five batches."""
    trainer = make_trainer()
    metrics = {
        "G": {"Loss/G/loss": 0.0},
        "D": {"Loss/D/loss": 0.0, "Loss/signs/real": 0.5},
        "R1": {"Loss/r1_penalty": 0.0, "Loss/signs/real": -1.0},
    }
    for phase, means in metrics.items():
        moments = {name: stats.moments(tf.fill([BATCH], mean)) for name, mean in means.items()}
        trainer._order._phases[phase] = lambda inputs, moments=moments: moments
    for _ in range(4):
        logs = trainer.train_step(tf.constant(images_of(BATCH)))
    assert trainer.controller.overfitting == pytest.approx((4 * 0.5 - 1) / 5) == pytest.approx(float(logs["r_t"]))


@pytest.mark.parametrize(("dtype", "labels"), [(np.uint8, "classes"), (np.float64, "one-hot")])
def test_batches_of_images_and_labels(dtype, labels):
    trainer = make_trainer(label_dim=3)
    label = np.arange(BATCH) % 3
    given = tf.one_hot(label, 3) if labels == "one-hot" else label
    history = trainer.fit(images_of(BATCH, dtype), given, batch_size=BATCH, verbose=0)
    assert np.isfinite(history.history["loss_D"][0])


def test_images_may_be_uint8_or_float():
    """The same images give the same training."""
    results = []
    for dtype in (np.uint8, np.float32):
        trainer = make_trainer()
        trainer.fit(tf.data.Dataset.from_tensors(images_of(BATCH, dtype)), verbose=0)
        results.append(weights_of(trainer.D))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.fixture(scope="module")
def conditional():
    """A trainer whose networks have labels; for refusals, which change nothing."""
    return make_trainer(label_dim=3)


def test_missing_labels_are_named(conditional):
    with pytest.raises(ValueError, match=r"labels of width 3: fit on batches of \(images, labels\)"):
        conditional.train_step(tf.constant(images_of(BATCH)))


@pytest.mark.parametrize(
    ("images", "label", "message"),
    [
        (images_of(BATCH).transpose(0, 3, 1, 2), [0] * BATCH, r"images of shape .*: fit on batches \[N, 16, 16, 3\]"),
        (images_of(BATCH)[0], [0] * BATCH, r"images of shape \(16, 16, 3\): fit on batches"),
        (images_of(BATCH), [3] * BATCH, "labels from 3 to 3: give classes from 0 to 2"),
        (images_of(BATCH), [[0.0, 1.0]] * BATCH, r"labels of shape \(\d, 2\): give \[\d\] or \[\d, 3\]"),
        (images_of(BATCH), [0.5] * BATCH, "labels such as 0.5: give class numbers"),
        (images_of(6), [0] * 6, "batch of 6 images is not a multiple of D's mbstd_group_size=4"),
        (images_of(BATCH).astype(np.float32), [0] * BATCH, r"images of type float32 up to 255: give uint8, or floats"),
        (images_of(BATCH).astype(np.int32), [0] * BATCH, r"images of type int32 up to 255: give uint8, or floats"),
    ],
)
def test_batches_that_do_not_fit_are_refused(conditional, images, label, message):
    with pytest.raises(ValueError, match=message):
        conditional.train_step((tf.constant(images), tf.constant(label)))


def test_validation_weights_and_metrics_are_refused(conditional):
    x, y = images_of(BATCH), np.zeros(BATCH)
    for arguments in ({"validation_data": (x, y)}, {"validation_split": 0.5}):
        with pytest.raises(ValueError, match=r"a GAN has no validation loss; compute sg3tf\.metrics of G_ema"):
            conditional.fit(x, y, verbose=0, **arguments)
    with pytest.raises(ValueError, match="a GAN has no validation loss"):
        conditional.evaluate(x, y, verbose=0)
    for arguments in ({"sample_weight": np.ones(BATCH)}, {"class_weight": {0: 1, 1: 2, 2: 1}}):
        with pytest.raises(ValueError, match="sample_weight or class_weight is given: images cannot be weighted"):
            conditional.fit(x, y, batch_size=BATCH, verbose=0, **arguments)
    with pytest.raises(ValueError, match="metrics: a GAN has no predictions to measure"):
        conditional.compile(gamma=0.1, metrics=["mae"])


def test_arrays_and_names_of_optimizers():
    trainer = make_trainer(label_dim=3, g_optimizer="adam", d_optimizer="sgd")
    assert isinstance(trainer.g_optimizer, keras.optimizers.Adam)
    assert np.isfinite(trainer.train_on_batch(images_of(BATCH), np.zeros(BATCH), return_dict=True)["loss_D"])


def test_a_subclass_and_frozen_layers():
    """The average has the class of G, and follows what is trained."""

    class Doubled(StyleGAN3Generator):
        def _synthesize(self, *arguments):
            return 2 * super()._synthesize(*arguments)

    G = Doubled.from_preset("stylegan3-t", **SIZE)
    G.mapping_network.trainable = False
    trainer = StyleGANTrainer(G, Discriminator.from_preset("stylegan3-t", **SIZE))
    trainer.compile(gamma=0.1)
    frozen = [layer.get_weights() for layer in G.mapping_network.dense]
    trainer.fit(images_of(BATCH), batch_size=BATCH, verbose=0)
    assert type(trainer.G_ema) is Doubled
    for one, other in zip(G.get_weights(), trainer.G_ema.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)  # the first step overwrites the average
    for layer, before in zip(G.mapping_network.dense, frozen, strict=True):
        np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_a_frozen_network_is_refused():
    G, D = Generator.from_preset("stylegan3-t", **SIZE), Discriminator.from_preset("stylegan3-t", **SIZE)
    for name, network in (("G", G), ("D", D)):
        network.trainable = False
        trainer = StyleGANTrainer(G, D)
        with pytest.raises(ValueError, match=f"{name} has no trainable variables: set {name}.trainable = True"):
            trainer.compile(gamma=0.1)
        network.trainable = True
        trainer.compile(gamma=0.1)
        # The average moves what is trained, whatever G was when it was made.
        assert len(trainer.G_ema.trainable_variables) == len(G.trainable_variables)


def test_predictions_are_in_float32_under_a_global_policy():
    with global_dtype_policy("mixed_bfloat16"):
        trainer = StyleGANTrainer(
            Generator.from_preset("stylegan3-t", **SIZE, dtype="float32"),
            Discriminator.from_preset("stylegan3-t", **SIZE, dtype="float32"),
        )
    z = np.random.default_rng(0).normal(size=[2, 512]).astype(np.float32)
    np.testing.assert_array_equal(trainer(z), trainer.G_ema(z))


def test_weights_are_saved_and_training_continues(tmp_path):
    dataset = tf.data.Dataset.from_tensors(images_of(BATCH))
    straight = make_trainer(augment_p=0.3, augment_kimg=0.1)
    straight.fit(dataset, epochs=3, verbose=0)
    straight.save_weights(tmp_path / "trainer.weights.h5")
    second = make_trainer(seed=1, augment_kimg=0.1)
    second.load_weights(tmp_path / "trainer.weights.h5")
    assert (second.step, second.controller.probability) == (3, 0.3)
    for trainer in (straight, second):
        trainer.fit(dataset, epochs=3, verbose=0)
    assert second.controller.probability == straight.controller.probability != 0.3
    for name in ("G", "D", "G_ema"):
        for a, b in zip(getattr(straight, name).variables, getattr(second, name).variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


@pytest.mark.parametrize(
    ("preset", "options", "arguments"),
    [
        ("stylegan3-t", {}, {}),
        ("stylegan3-r", {}, {"blur_kimg": BATCH * 200 / 32}),
        ("stylegan2", {"pl_weight": 2.0, "style_mixing": 0.9, "glr": 0.002}, {"pl_weight": 2.0, "style_mixing": 0.9}),
        ("stylegan3-t", {"loss": "relativistic"}, {"loss": "relativistic"}),
        ("stylegan3-t", {"lecam": 0.5}, {"lecam": 0.5}),
    ],
)
def test_a_step_is_that_of_the_exact_loop(faces, preset, options, arguments):
    """Equal weights, images, labels and seed: equal losses, and the same weights afterwards."""
    options = tiny_run.options(
        faces,
        cfg=preset,
        cond=True,
        aug="fixed",
        p=0.4,
        gamma=0.1,
        map_depth=8 if preset == "stylegan2" else 2,
        **options,
    )
    state = TrainState(options)
    data = open_dataset(faces, use_labels=True)
    batch = tuple(np.stack(arrays) for arrays in zip(*(data[i] for i in range(BATCH)), strict=True))
    labels = BatchIterator([batch], (BATCH, 16, 16, 3), 3)
    trainer = StyleGANTrainer(state.G.__class__(state.G.config), state.D.__class__(state.D.config))
    for name in ("G", "D", "G_ema"):
        getattr(trainer, name).set_weights(getattr(state, name).get_weights())
    trainer.compile(gamma=0.1, augment_p=0.4, augment_target=None, **arguments)
    inputs = make_random_inputs(options, state, labels)
    exact = TrainStep(state, options, tf.distribute.get_strategy(), inputs).run(next(labels))
    logs = trainer.train_step(tuple(map(tf.constant, batch)))
    metrics = {"loss_G": "Loss/G/loss", "loss_D": "Loss/D/loss", "r1": "Loss/r1_penalty", "r_t": "Loss/signs/real"}
    for name, metric in metrics.items():
        assert float(logs[name]) == pytest.approx(float(stats.mean(exact[metric])), rel=1e-5), name
    assert float(logs["augment_p"]) == pytest.approx(0.4)
    for name in ("G", "D", "G_ema"):
        for a, b in zip(getattr(state, name).variables, getattr(trainer, name).variables, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)
    assert float(trainer.pl_mean) == pytest.approx(float(state.pl_mean), rel=1e-5)
    if "lecam" in arguments:
        np.testing.assert_allclose(trainer.lecam_means, state.lecam_means, rtol=1e-5)
        assert np.all(np.abs(state.lecam_means) > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "hinge"}, "loss='hinge': give one of logistic, relativistic"),
        ({"loss": "relativistic", "lecam": 0.1}, "lecam=0.1: works with loss='logistic' only"),
    ],
)
def test_losses_that_do_not_exist_are_refused(conditional, arguments, message):
    with pytest.raises(ValueError, match=message):
        conditional.compile(gamma=1.0, **arguments)


def test_moving_averages_of_lecam_are_saved(tmp_path):
    trainer = make_trainer(lecam=0.5)
    trainer.fit(tf.data.Dataset.from_tensors(images_of(BATCH)), verbose=0)
    trainer.save_weights(tmp_path / "trainer.weights.h5")
    other = make_trainer(seed=1, lecam=0.5)
    other.load_weights(tmp_path / "trainer.weights.h5")
    np.testing.assert_array_equal(other.lecam_means, trainer.lecam_means)
    assert np.all(other.lecam_means != 0)


def test_a_last_batch_of_one_image_has_path_lengths():
    trainer = make_trainer(preset="stylegan2", pl_weight=2.0, pl_interval=1)
    trainer.train_step(tf.constant(images_of(1)))
    assert 0 < float(trainer.pl_mean) < np.inf


@pytest.mark.slow
def test_phases_are_compiled():
    with contextlib.ExitStack() as stack:
        tf.config.run_functions_eagerly(False)
        stack.callback(tf.config.run_functions_eagerly, True)
        traced = mock.Mock(wraps=losses.generator_phase)
        loss = losses.LOSSES["logistic"]._replace(generator=traced)
        stack.enter_context(mock.patch.dict(losses.LOSSES, logistic=loss))
        trainer = make_trainer(preset="stylegan2")
        history = trainer.fit(tf.data.Dataset.from_tensors(images_of(BATCH)), epochs=4, verbose=0)
    assert np.all(np.isfinite(history.history["loss_G"]))
    assert 0 < traced.call_count < 4  # steps


def test_a_trainer_as_a_whole_is_not_saved_but_the_remedy_is_named(tmp_path):
    callback = keras.callbacks.ModelCheckpoint(str(tmp_path / "trainer.keras"))
    dataset = tf.data.Dataset.from_tensors(images_of(BATCH))
    with pytest.raises(NotImplementedError, match=r"trainer.keras: .* save_weights.*G_ema.save"):
        make_trainer().fit(dataset, verbose=0, callbacks=[callback])


def test_weights_loaded_before_compile_come_with_a_warning_that_the_rest_is_lost(tmp_path, recwarn):
    trainer = make_trainer()
    trainer.save_weights(tmp_path / "trainer.weights.h5")
    other = StyleGANTrainer(trainer.G, trainer.D)
    with pytest.warns(UserWarning, match="without compile: .* neither optimizers nor .* call compile first"):
        other.load_weights(tmp_path / "trainer.weights.h5")
    recwarn.clear()
    other.save_weights(tmp_path / "networks.weights.h5")
    StyleGANTrainer(trainer.G, trainer.D).load_weights(tmp_path / "networks.weights.h5")
    assert not [warning for warning in recwarn if "without compile" in str(warning.message)]
