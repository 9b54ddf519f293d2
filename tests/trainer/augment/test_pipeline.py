"""The pipeline: golden numbers, the properties that the training step relies on, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.ops import use_backend
from tests.helpers import contexts
from tests.helpers.forced_params import drawn, percentile, smooth_images
from tests.helpers.numerics import derivative, nchw, nhwc, relative_error
from trainer.augment import PIPES
from trainer.augment.pipeline import Augment

IMPLEMENTATIONS = ["xla", "matmul", pytest.param("native", marks=pytest.mark.native)]
GROUPS = ("blit", "geom", "color", "filter", "noise", "cutout")
TRANSFORMS = [
    *("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"),
    *("brightness", "contrast", "lumaflip", "hue", "saturation", "imgfilter", "cutout"),
]


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_golden(golden, transform, share):
    arrays = golden("augment")
    got = Augment(transform)(nhwc(arrays["images_nchw"]), percentile(share, 2), 1.0)
    assert relative_error(nchw(got), arrays[f"{transform}/{share}"]) < 2e-6


def test_golden_is_complete(golden):
    assert {name.split("/")[0] for name in golden("augment") if "/" in name} == {*TRANSFORMS, "bgc"}


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_golden_pipeline_and_gradient(golden, impl):
    arrays = golden("augment")
    images = tf.constant(nhwc(arrays["images_nchw"]))
    with use_backend(impl), tf.GradientTape() as tape:
        tape.watch(images)
        got = Augment("bgc")(images, percentile(0.7, 2), 1.0)
    assert relative_error(nchw(got), arrays["bgc/0.7"]) < 5e-6
    gradient = tape.gradient(got, images, output_gradients=tf.constant(nhwc(arrays["bgc/0.7/gy"])))
    assert relative_error(nchw(gradient), arrays["bgc/0.7/gx"]) < 2e-5


def test_pipes():
    unions = ["".join(name[0] for name in GROUPS[:i]) for i in range(2, 7)]
    assert unions == ["bg", "bgc", "bgcf", "bgcfn", "bgcfnc"]
    assert set(PIPES) == {*GROUPS, *unions}
    for count, union in enumerate(unions, 2):
        assert Augment(union).transforms == Augment(*GROUPS[:count]).transforms
    assert Augment("bgcfnc").transforms == {*TRANSFORMS, "noise"}
    assert Augment("blit", "hue").transforms == {"xflip", "rotate90", "xint", "hue"}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("pipe", PIPES)
def test_nothing_changes_at_probability_zero(pipe, channels):
    images = np.random.RandomState(0).uniform(-1, 1, [8, 12, 12, channels]).astype(np.float32)
    assert np.array_equal(Augment(pipe)(images, drawn(8), 0.0), images)


def test_images_that_nothing_happens_to_are_untouched_among_others():
    images = smooth_images(64, 12, 3)
    got = Augment("bgcfnc")(images, drawn(64), 0.1).numpy()
    same = np.all(got == images, axis=(1, 2, 3))
    # 19 events, of which 3 may leave an image as it is, and two rotations that share one probability: about 0.17.
    assert 3 <= same.sum() <= 25


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_everything_at_probability_one(channels):
    images = smooth_images(4, 12, channels)
    got = Augment("bgcfnc")(images, drawn(4), 1.0)
    assert got.shape == images.shape and got.dtype == tf.float32
    assert np.all(np.isfinite(got)) and np.all(np.any(got != images, axis=(1, 2, 3)))


def test_an_image_is_augmented_alike_in_any_batch():
    """An image depends on its own parameters and probability only, not on replicas or accumulation steps."""
    images, values, p = smooth_images(8, 12, 3), drawn(8), np.linspace(0.3, 1, 8).astype(np.float32)
    augment = Augment("bgcfnc")
    together = augment(images, values, p).numpy()
    for part in (slice(0, 1), slice(2, 5), slice(7, None)):
        np.testing.assert_allclose(augment(images[part], values[part], p[part]), together[part], atol=2e-6)
    others = values.copy()
    others[1:] = drawn(8, seed=1)[1:]
    assert np.array_equal(augment(images, others, p)[0], together[0])


def test_same_numbers_same_result():
    images = smooth_images(4, 12, 3)
    augment = Augment("bgcfnc")
    first = augment(images, drawn(4), 0.8).numpy()
    assert np.array_equal(augment(images, drawn(4), 0.8), first)
    assert not np.array_equal(augment(images, drawn(4, seed=1), 0.8), first)


@pytest.mark.slow
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_every_way_to_run_it(impl, tmp_path):
    # Native operations need a second library to be compiled by XLA.
    ways = ("graph", "dynamic batch") if impl == "native" else ("graph", "jit_compile", "dynamic batch")
    images, values = smooth_images(3, 12, 3), tf.constant(drawn(3))
    augment = Augment("bgcfnc")

    def value_and_gradient(x):
        function = lambda t: tf.sin(augment(t, values, tf.constant(0.8)))  # noqa: E731
        return [function(x), derivative(function)(x)]

    with use_backend(impl):
        expected = contexts.run("eager", value_and_gradient, images, tmp_path)
        for way in ways:
            got = contexts.run(way, value_and_gradient, images, tmp_path)
            for a, b in zip(got, expected, strict=True):
                assert relative_error(a, b) < 1e-5, way


def test_probability_is_no_reason_to_trace_again():
    traced = []
    augment = Augment("bgcfnc")

    @tf.function
    def run(images, values, probability):
        traced.append(1)
        return augment(images, values, probability)

    for p in (0.0, 0.25, 1.0):
        run(tf.constant(smooth_images(2, 12, 3)), tf.constant(drawn(2)), tf.constant(p))
    assert len(traced) == 1


@pytest.mark.parametrize("impl", ["xla", "matmul"])
@pytest.mark.parametrize("pipe", GROUPS)
def test_gradient_of_the_gradient_against_differences(pipe, impl):
    """The gradient of a penalty like R1, along a direction, in float64."""
    images = smooth_images(2, 8, 3, np.float64)
    values, augment = drawn(2), Augment(pipe)
    weights = tf.constant(np.random.RandomState(0).randn(2, 8, 8, 3))
    direction = tf.constant(np.random.RandomState(1).randn(2, 8, 8, 3))

    def score(x):
        return tf.reduce_sum(weights * tf.sin(2 * augment(x, values, 1.0)))

    def penalty(x):
        return tf.reduce_sum(tf.square(derivative(score)(x)))

    step = 1e-5
    with use_backend(impl):
        slope = tf.reduce_sum(derivative(penalty)(tf.constant(images)) * direction).numpy()
        differences = (penalty(images + step * direction) - penalty(images - step * direction)) / (2 * step)
    assert np.isfinite(slope) and abs(slope) > 1e-3
    assert slope == pytest.approx(float(differences), rel=1e-6)


@pytest.mark.parametrize("pipe", ["bgc", "filter"])
def test_gradient_is_the_adjoint(pipe):
    """Augmentation is affine: <A x - A 0, v> = <x, A* v>, in float64."""
    images = smooth_images(2, 10, 3, np.float64)
    v = np.random.RandomState(0).randn(2, 10, 10, 3)
    values, augment = drawn(2, seed=2), Augment(pipe)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = augment(x, values, 1.0)
    adjoint = tape.gradient(y, x, output_gradients=tf.constant(v))
    linear = y - augment(tf.zeros_like(x), values, 1.0)
    assert float(tf.reduce_sum(linear * v)) == pytest.approx(float(tf.reduce_sum(x * adjoint)), rel=1e-11)


@pytest.mark.parametrize(
    "names, message", [(("bgd",), "augmentation 'bgd': choose from .*bgcfnc"), ((), "at least one")]
)
def test_unknown_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        Augment(*names)


@pytest.mark.parametrize(
    "images, values, p, message",
    [
        (np.zeros([2, 8, 8], np.float32), drawn(2), 1.0, r"images of shape \(2, 8, 8\): give \[N, H, W, C\]"),
        (np.zeros([2, 8, 8, 3], np.uint8), drawn(2), 1.0, "images of type uint8: cast them to float32"),
        (np.zeros([2, 8, 8, 3], np.float16), drawn(2), 1.0, "images of type float16: cast them to float32"),
        (np.zeros([2, 4, 8, 3], np.float32), drawn(2), 1.0, r"shape \(2, 4, 8, 3\): .* at least 6 pixels each way"),
        (
            np.zeros([2, 8, 8, 3], np.float32),
            drawn(3),
            1.0,
            r"params of shape \(3, 43\): give the result of .* for 2 images",
        ),
        (np.zeros([2, 8, 8, 3], np.float32), drawn(2)[:, :5], 1.0, r"params of shape \(2, 5\): .*\[N, 43\]"),
        (np.zeros([2, 8, 8, 3], np.float32), drawn(2), -0.5, "probability -0.5: must be 0 or more"),
        (np.zeros([2, 8, 8, 3], np.float32), drawn(2), float("nan"), "probability nan: must be 0 or more"),
        (np.zeros([2, 8, 8, 3], np.float32), drawn(2), 3 * [0.5], r"probability of shape \(3,\): .* each image, \[2\]"),
        (np.zeros([2, 8, 8, 2], np.float32), drawn(2), 1.0, "images of 2 channels: color transforms need 1, 3 or 4"),
    ],
)
def test_bad_input_is_refused(images, values, p, message):
    with pytest.raises(ValueError, match=message):
        Augment("bgc")(images, values, p)
