"""The networks that newcomers start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sg3tf
from sg3tf.generate.open_network import open_network
from sg3tf.models.presets import TRAINED_PRESETS

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", TRAINED_PRESETS)
def test_example_networks_draw_different_heads(name: str) -> None:
    G = sg3tf.load(EXAMPLES / f"{name}.keras")
    inputs = {"z": sg3tf.latents.z_from_seeds(range(16), G.config.z_dim)}
    if G.config.label_dim:
        inputs["label"] = np.eye(G.config.label_dim, dtype=np.float32)[np.arange(16) % G.config.label_dim]
    images = G.predict(inputs, verbose=0)
    side = G.config.resolution
    assert images.shape == (16, side, side, 3) and images.dtype == np.float32
    assert np.abs(images).max() < 3  # nominally -1 to 1
    assert images.std(axis=0).mean() > 0.2  # no two alike
    # A head in the middle: its columns differ more from the picture's edges than the edges from each other.
    columns = images.reshape(16, 8, side // 8, 8, side // 8, 3).mean(axis=(0, 2, 4))[3:5].mean(axis=0)
    left, middle, right = columns[0], columns[3:5].mean(axis=0), columns[7]
    assert np.linalg.norm(middle - (left + right) / 2) > 2 * np.linalg.norm(left - right)


def test_classes_of_the_conditional_network() -> None:
    network = open_network(str(EXAMPLES / "portraits-32-conditional.keras"))
    assert len(network.classes) == 12 and network.classes[0] == "short black hair"
    G = sg3tf.load(EXAMPLES / "portraits-32-conditional.keras")
    z = sg3tf.latents.z_from_seeds(range(16), G.config.z_dim)

    def draw(name: str) -> np.ndarray:
        label = np.tile(np.eye(12, dtype=np.float32)[network.classes.index(name)], (16, 1))
        return np.asarray(G({"z": z, "label": label}))

    # Hair above the forehead: white is brighter than black, red is redder than black; and dark glasses hide the eyes.
    white, black, red = (draw(f"{hair} hair")[:, 4:8, 13:19] for hair in ("white", "short black", "short red"))
    assert white.mean() > black.mean() + 0.5
    assert (red[..., 0] - red[..., 2]).mean() > (black[..., 0] - black[..., 2]).mean() + 0.3
    dark, bald = (draw(name)[:, 13:17, 10:22].mean() for name in ("sunglasses", "bald"))
    assert dark < bald - 0.3
