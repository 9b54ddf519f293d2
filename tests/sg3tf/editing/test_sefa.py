"""SeFa against the singular vectors of the maps from w to styles."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.editing.sefa import sefa_directions, style_matrices

SIZE = {"resolution": 16, "channel_base": 256, "channel_max": 8, "z_dim": 6, "w_dim": 6}


def generator(preset: str) -> Any:
    keras.utils.set_random_seed(0)
    return sg3tf.Generator.from_preset(preset, **SIZE, **({} if preset == "stylegan2" else {"num_layers": 6}))


def jacobian(layer: Any, w: np.ndarray) -> np.ndarray:
    """Of styles by w, [styles, w_dim]."""
    w = tf.constant(w[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(w)
        styles = layer.affine(w)[0]
    return np.asarray(tape.jacobian(styles, w))[:, 0].astype(np.float64)


@pytest.mark.parametrize("preset", ["stylegan3-t", "stylegan3-r"])
def test_alias_free(preset: str):
    G = generator(preset)
    layers = [2, 3, 4]
    A = np.concatenate([jacobian(G.synthesis_layers[layer - 1], np.zeros(6)) for layer in layers])
    expected = np.linalg.svd(A)[2][:4]
    np.testing.assert_allclose(np.abs(sefa_directions(G, layers, 4)), np.abs(expected), atol=1e-4)
    assert style_matrices(G)[0] == []  # the input's
    torgb, channels = G.synthesis_layers[-1], G.synthesis_layers[-1].plan.in_channels
    np.testing.assert_allclose(style_matrices(G)[-1][0], jacobian(torgb, np.ones(6)) / channels**0.5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"layers=\[0\]: no convolution"):
        sefa_directions(G, [0], 1)


def test_stylegan2():
    """Where ws are read is asked of the network: the image's derivative by those of a ToRGB that nothing else reads."""
    G = generator("stylegan2")
    readers = style_matrices(G)
    assert [len(matrices) for matrices in readers] == [1, 2, 1, 2, 1, 1]
    A = jacobian(G.convs[2], np.zeros(6))
    np.testing.assert_allclose(np.abs(sefa_directions(G, [2], 3)), np.abs(np.linalg.svd(A)[2][:3]), atol=1e-4)
    np.testing.assert_allclose(
        readers[3][1], jacobian(G.torgbs[1], np.zeros(6)) / G.torgbs[1].affine.units ** 0.5, rtol=1e-4
    )
