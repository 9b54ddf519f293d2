"""Models written before the layout of the project changed (tests/data/legacy) load and compute the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import sg3tf
from sg3tf.ops import use_backend

LEGACY = Path(__file__).parents[2] / "data" / "legacy"
GENERATORS = ("t", "r-labels", "d", "h", "b", "c", "stylegan2", "stylegan1")
# Another processor orders float32 sums differently: some hundred roundings of 1e-7 of values of up to 10.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(LEGACY / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators(name: str, expected: dict[str, np.ndarray]) -> None:
    G = sg3tf.load(LEGACY / f"{name}.keras")
    inputs = {key: expected[f"{name}/{key}"] for key in ("z", "label") if f"{name}/{key}" in expected}
    ws = G.mapping(inputs["z"], inputs.get("label"))
    np.testing.assert_allclose(ws, expected[f"{name}/ws"], rtol=0, atol=TOLERANCE)
    with use_backend("matmul"):
        images = G(inputs, truncation_psi=0.7)
    np.testing.assert_allclose(images, expected[f"{name}/images"], rtol=0, atol=TOLERANCE)


def test_discriminator(expected: dict[str, np.ndarray]) -> None:
    D = keras.models.load_model(LEGACY / "discriminator.keras")
    logits = D(expected["discriminator/images"], expected["discriminator/label"])
    np.testing.assert_allclose(logits, expected["discriminator/logits"], rtol=0, atol=TOLERANCE)
