"""Serving signatures as TensorFlow functions, before they are saved."""

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from serving.signatures import ServedGenerator, _to_png


def test_max_batch(fake_generator):
    signatures = ServedGenerator(fake_generator, max_batch=2).signatures()
    ws, transform = np.zeros([3, 3, 4], np.float32), np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    calls = {
        "generate": [np.zeros([3, 6], np.float32), np.float32(1), np.zeros([3, 2], np.float32)],
        "generate_png": [np.arange(3), np.float32(1), np.zeros([3, 2], np.float32)],
        "map": [np.zeros([3, 6], np.float32), np.float32(1), np.zeros([3, 2], np.float32)],
        "synthesize": [ws, transform],
        "synthesize_float": [ws, transform],
        "synthesize_png": [ws, transform, np.int32(1)],
        "mix": [ws, ws, np.zeros([3, 3], np.float32)],
    }
    for name, arguments in calls.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="at most 2"):
            signatures[name](*map(tf.constant, arguments))
        signatures[name](*[tf.constant(argument[:2] if np.ndim(argument) else argument) for argument in arguments])


def test_labels_of_classes(fake_generator):
    signatures = ServedGenerator(fake_generator, max_batch=2, classes=("tabby", "manx")).signatures()
    found = signatures["label"](tf.constant(["manx", "tabby"]))["label"]
    np.testing.assert_array_equal(found, np.float32([[0, 1], [1, 0]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be one of tabby, manx; it is.*persian"):
        signatures["label"](tf.constant(["manx", "persian"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 2"):
        signatures["label"](tf.constant(["manx"] * 3))
    assert "label" not in ServedGenerator(fake_generator).signatures()


def test_scaled_png(fake_generator):
    """Each image by its own factor; a side that is no multiple is rounded up; 1 is the picture of `synthesize`."""
    signatures = ServedGenerator(fake_generator).signatures()
    ws = np.random.default_rng(1).normal(size=[3, 3, 4]).astype(np.float32)
    inputs = [tf.constant(ws), tf.eye(3, batch_shape=[3])]
    full = signatures["synthesize"](*inputs)["images"].numpy()
    for scales in ([1, 1, 1], [1, 2, 3]):
        files = signatures["synthesize_png"](*inputs, tf.constant(scales, tf.int32))["png_bytes"].numpy()
        pictures = [tf.io.decode_png(file).numpy() for file in files]
        assert [picture.shape for picture in pictures] == [(side, side, 3) for side in (-(-8 // s) for s in scales)]
        np.testing.assert_array_equal(pictures[0], full[0])
    averages = full[1].reshape(4, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_allclose(pictures[1], averages, atol=0.5 + 1e-4)  # rounded to a level


def test_scaled_png_of_pictures_that_are_not_square():
    pictures = np.random.default_rng(0).integers(0, 256, [2, 6, 10, 3], np.uint8)
    half, quarter = (tf.io.decode_png(file).numpy() for file in _to_png(tf.constant(pictures), tf.constant([2, 4])))
    averages = pictures[0].reshape(3, 2, 5, 2, 3).mean((1, 3))
    np.testing.assert_allclose(half, averages, atol=0.5 + 1e-4)  # rounded to a level
    assert quarter.shape == (2, 3, 3)


def test_xla(fake_generator):
    plain, compiled = (
        ServedGenerator(fake_generator, xla=xla).signatures()["synthesize_float"] for xla in (False, True)
    )
    library = compiled.get_concrete_function().graph.as_graph_def().library.function
    assert [f.signature.name for f in library if f.attr["_XlaMustCompile"].b]
    ws = np.random.default_rng(0).normal(size=[2, 3, 4]).astype(np.float32)
    inputs = [tf.constant(ws), tf.eye(3, batch_shape=[2])]
    np.testing.assert_allclose(compiled(*inputs)["images"], plain(*inputs)["images"], atol=1e-6)


def test_a_model_without_labels_asks_for_none():
    tiny = sg3tf.Generator.from_preset("stylegan3-r", resolution=16, channel_base=64, channel_max=4)
    for name, function in ServedGenerator(tiny).signatures().items():
        (specs, _) = function.get_concrete_function().structured_input_signature
        assert "label" not in {spec.name for spec in specs}, name
