"""Feature maps: the generator's own activations, the channels of most variance, the image's part of the canvas."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sg3tf.generate.feature_maps import ColorMapping, FeatureMaps, layers_of
from sg3tf.generate.network import Network
from sg3tf.latents import transform_matrix, z_from_seeds


def test_activations_of_stylegan3(network: Network) -> None:
    G = network.generator
    ws = network.map(z_from_seeds([0], 6))
    transform = transform_matrix(0.3, 0.1, 0.2)
    given = FeatureMaps(G, [0, 5])(ws[0], transform)
    x = G.fourier_input(tf.constant(ws[:, 0]), transform=tf.constant(transform))
    for index, layer in enumerate(G.synthesis_layers, start=1):
        x = layer(x, tf.constant(ws[:, index]))
        if index - 1 in (0, 5):
            plan, mine = layer.plan, given.pop(0)
            assert mine.shape == (plan.out_rate, plan.out_rate, plan.out_channels)
            margin = (plan.out_size - plan.out_rate) // 2
            expected = x.numpy()[0, margin : margin + plan.out_rate, margin : margin + plan.out_rate]
            np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)
    assert len(layers_of(G)) == 6
    np.testing.assert_array_equal(network.synthesize(ws), network.synthesize(ws))  # calls are no longer recorded
    assert not any("call" in vars(layer) for layer in G.synthesis_layers)


def test_activations_of_stylegan2(stylegan2: Network) -> None:
    G = stylegan2.generator
    ws = stylegan2.map(z_from_seeds([0], 6))
    names = [layer.name for layer in layers_of(G)]
    assert names == ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    activations = FeatureMaps(G, range(5))
    assert activations.names == names
    given = activations(ws[0])
    assert [value.shape[:2] for value in given] == [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
    conv = G.convs[1]
    x = conv(tf.constant(given[0][None]), tf.constant(ws[:, 1]), noise=tf.convert_to_tensor(conv.noise_const)[None])
    np.testing.assert_allclose(given[1], x[0], rtol=1e-4, atol=1e-5)


def test_the_channels_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    strong, middle, weak = (scale * rng.standard_normal([8, 8]) for scale in (4, 2, 1))
    nothing, copy = np.zeros([8, 8]), 3.9 * strong / 4
    activation = np.stack([nothing, weak, copy, middle, strong], axis=-1).astype(np.float32) + 7
    view = ColorMapping.from_feature_maps([activation[:4], activation[4:]])
    assert view.channels.tolist() == [4, 3, 1]  # not the copy
    np.testing.assert_allclose(view.center, activation.mean((0, 1))[[4, 3, 1]], rtol=1e-5)
    shown = view(activation)
    red = 255 * (0.5 + (strong - strong.mean()) / (2 * 2.5 * strong.std()))
    np.testing.assert_allclose(shown[..., 0], np.clip(red, 0, 255), atol=1)


def test_a_layer_of_few_or_constant_channels() -> None:
    for channels in (1, 2, 5):
        constant = np.full([4, 4, channels], 3, np.float32)
        np.testing.assert_array_equal(ColorMapping.from_feature_maps([constant])(constant), np.full([4, 4, 3], 128))
