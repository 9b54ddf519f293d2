"""Wrong arguments of the models are answered with one line that names them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.models.discriminator import DiscriminatorBlock
from sg3tf.models.layers import EqualizedConv2D, EqualizedDense
from sg3tf.models.stylegan2 import StyleConv

Z = np.ones([3, 4], np.float32)
LABEL = np.eye(3, dtype=np.float32)


@pytest.fixture(scope="module")
def G():
    size = {"channel_base": 64, "channel_max": 4, "z_dim": 4, "w_dim": 4, "label_dim": 3}
    return sg3tf.Generator.from_preset("stylegan2", 8, **size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda G: G([Z, LABEL]), r'inputs is a list: give z, or \{"z": z, "label": label\}'),
        (lambda G: G((Z, LABEL)), "inputs is a tuple: give z, or"),
        (
            lambda G: G({"z": Z, "label": LABEL, "transform": Z, "psi": Z}),
            "inputs has the keys psi, transform: it takes z and label; give truncation_psi, transform and others",
        ),
        (
            lambda G: G.predict({"z": Z, "labels": LABEL}, verbose=0),
            "inputs has the keys labels: it takes z and label;",
        ),
        (lambda G: G.mapping(np.float32(1), LABEL), r"z of shape \(\): give \[N, 4\]"),
        (lambda G: G({"z": Z[:0], "label": LABEL[:0]}), r"z of shape \(0, 4\): give at least one"),
        (lambda G: G.synthesis(np.zeros([0, 4, 4])), r"ws of shape \(0, 4, 4\): give those of at least one image"),
        (lambda G: G({"z": Z, "label": LABEL}, truncation_psi=[0.5, 1]), r"psi of shape \(2,\): give a number, or one"),
        (lambda G: sg3tf.latents.truncate(Z[:, None], Z[0], [0.5, 1]), r"psi of shape \(2,\): give a number, or one"),
        (lambda G: G.mapping(Z, LABEL[:1]), r"z of shape \(3, 4\), label of shape \(1, 3\): give a label for each z"),
        (lambda G: G({"z": Z[:1], "label": LABEL}), r"z of shape \(1, 4\), label of shape \(3, 3\): give a label for"),
        (lambda G: sg3tf.images.save_png("x.png", G({"z": Z, "label": LABEL})), r"image of shape \(3, 8, 8, 3\): give"),
    ],
)
def test_generator(G, call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        call(G)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("psi", [0.5, [0.5], [[0.1], [0.2], [0.3]], np.float32([0.1, 0.2, 0.3])])
def test_psi_that_fits(G, psi):
    assert G.mapping(Z, LABEL, psi).shape == (3, G.num_ws, 4)


def test_labels_of_unconditional_networks_in_lists():
    G = sg3tf.Generator.from_preset("stylegan2", 8, channel_base=64, channel_max=4, z_dim=4, w_dim=4)
    with pytest.raises(ValueError, match=r"label of shape \(1, 2\) is given: this network has no labels; leave it out"):
        G.mapping(Z[:1], label=[[1.0, 0]])
    assert G.mapping(Z[:1], label=np.zeros([1, 0])).shape == (1, G.num_ws, 4)


def test_latents_in_lists(G):
    np.testing.assert_array_equal(G.mapping(Z.tolist(), LABEL), G.mapping(Z, LABEL))


def test_a_block_without_clamps():
    block = DiscriminatorBlock(3, 5, clamp=None)
    assert [layer.clamp for layer in (block.conv0, block.conv1, block.skip)] == [None] * 3


@pytest.mark.parametrize(
    ("layer", "shape", "more"),
    [
        (EqualizedConv2D(5, 3, name="the_layer"), (2, 8, 8), ()),
        (EqualizedDense(5, name="the_layer"), (2,), ()),
        (DiscriminatorBlock(3, 5, name="the_layer"), (2, 8, 8), ()),
        (StyleConv(3, 5, 16, name="the_layer"), (2, 8, 8), (tf.ones([2, 4]),)),
    ],
)
def test_layers_name_themselves_and_the_channels_that_they_take(layer, shape, more):
    layer(tf.ones([*shape, 3]), *more)
    with pytest.raises(ValueError, match=r"the_layer.*: expected axis -1 of input shape to have value 3"):
        layer(tf.ones([*shape, 4]), *more)
