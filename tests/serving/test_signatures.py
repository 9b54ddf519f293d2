"""Serving signatures as TensorFlow functions, before they are saved."""

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from serving.signatures import ServedGenerator, _to_png
from sg3tf.utils.class_names import label_of
from sg3tf.utils.label_scale import LabelScale


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
    names = ("tabby, old", "manx")
    signatures = ServedGenerator(fake_generator, max_batch=2, classes=names).signatures()
    for texts in (["manx", "tabby, old"], ["1", "0"], ["manx", "manx,manx"]):
        expected = [label_of(text, names, 2) for text in texts]
        np.testing.assert_array_equal(signatures["label"](tf.constant(texts))["label"], expected)
    for wrong in ("persian", "manx,", "", "2", "tabby", "1,0"):
        assert label_of(wrong, names, 2) is None
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"0 to 1, or names .*: tabby.* it is.*{wrong}"):
            signatures["label"](tf.constant(["manx", wrong]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 2"):
        signatures["label"](tf.constant(["manx"] * 3))


def test_names_of_classes(fake_generator):
    listed = ServedGenerator(fake_generator, classes=("tabby, old", "manx")).signatures()["class_name"]
    assert listed(tf.constant([1, 0], tf.int64))["class_name"].numpy().tolist() == [b"manx", b"tabby, old"]
    for number in (-1, 2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be from 0 to 1; it is"):
            listed(tf.constant([0, number], tf.int64))


def test_classes_without_names(fake_generator):
    assert "class_name" not in ServedGenerator(fake_generator).signatures()
    label = ServedGenerator(fake_generator).signatures()["label"]
    np.testing.assert_array_equal(label(tf.constant(["1", "0"]))["label"], [[0, 1], [1, 0]])
    for wrong in ("2", "1,0", "manx"):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="a number from 0 to 1, of a class; a vector of 2 .* as label"
        ):
            label(tf.constant([wrong]))


def test_several_classes_in_one_label(fake_generator):
    """A row of several names is independent of the rows beside it."""
    label = ServedGenerator(fake_generator, classes=("tabby", "manx")).signatures()["label"]
    found = label(tf.constant(["manx", "manx, tabby", "tabby"]))["label"]
    np.testing.assert_array_equal(found, [[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize("text", ["manx,manx,manx", "manx,manx,a, b", "a, b,manx", ",,,", "tabby," * 100_000])
def test_more_names_than_classes_are_refused(fake_generator, text):
    """Without a limit, a text makes a matrix [names, classes]."""
    classes = ("tabby", "manx") if "a, b" not in text else ("a, b", "manx")
    assert label_of(text, classes, 2) is None
    label = ServedGenerator(fake_generator, classes=classes).signatures()["label"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="class_name must be"):
        label(tf.constant([text]))


def test_signatures_with_a_class(fake_generator):
    """They equal those with its label; a network of one number, or without labels, has none."""
    signatures = ServedGenerator(fake_generator, max_batch=2, classes=("tabby", "manx")).signatures()
    z, psi = tf.constant(np.random.default_rng(0).normal(size=[2, 6]), tf.float32), tf.constant(0.7)
    label, names = tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant(["manx", "0"])
    for name, latent in (("generate", z), ("generate_png", tf.constant([5, 6], tf.int64)), ("map", z)):
        (expected,) = signatures[name](latent, psi, label).values()
        (found,) = signatures[f"{name}_class"](latent, psi, names).values()
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 2"):
        signatures["generate_class"](tf.zeros([3, 6]), psi, tf.constant(["manx"] * 3))


def test_a_single_number_is_no_class():
    one = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, label_dim=1)
    assert not any("class" in name or name == "label" for name in ServedGenerator(one).signatures())


def test_scaled_png(fake_generator):
    """Each image by its own factor; a side that is no multiple is rounded up; 1 is the picture of `synthesize`."""
    signatures = ServedGenerator(fake_generator).signatures()
    ws = np.random.default_rng(1).normal(size=[3, 3, 4]).astype(np.float32)
    inputs = [tf.constant(ws), tf.eye(3, batch_shape=[3])]
    full = signatures["synthesize"](*inputs)["images"].numpy()
    for scales in ([1, 1, 1], [1, 2, 3], [1, 2, 2**31 - 1]):
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
        assert not {"label", "class_name"} & {spec.name for spec in specs}, name


def test_scale_of_labels(fake_generator):
    """Numbers that the data set has standardized are no classes."""
    scale = LabelScale((20200101.5, 5.0), (2.0, 0.0))
    signatures = ServedGenerator(fake_generator, max_batch=2, label_scale=scale).signatures()
    assert not any("class" in name or name == "label" for name in signatures)
    rows = signatures["label_scale"](tf.constant([1, 0], tf.int64))["label_scale"]
    np.testing.assert_array_equal(rows, [[5, 0], [20200101.5, 2]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be from 0 to 1; it is"):
        signatures["label_scale"](tf.constant([2], tf.int64))
