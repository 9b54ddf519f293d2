"""Pickles in the layout of published networks, with images and logits that were computed in float32 with PyTorch.

The files of tests/golden/pickles were not written by tests/helpers/official_writer.py. They have random weights, the
constructor arguments and states of stylegan3's and stylegan2-ada-pytorch's networks, and a line in place of the source
code. The arrays beside NAME.pkl, in NAME.npz, are of its networks: latents z with labels c, images of G_ema, and logits
of D for images `img` with labels c8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg3tf.convert import nvidia_pickle
from sg3tf.convert.from_pickle import build_model
from sg3tf.convert.official_network import UnsupportedNetworkError
from sg3tf.latents import transform_matrix
from tests.conftest import GOLDEN, Golden
from tests.helpers.numerics import Array

NAMES = sorted(file.stem for file in (GOLDEN / "pickles").glob("*.pkl"))
WITH_D = [name for name in NAMES if name != "t-only-average"]


def built(name: str, which: str) -> Any:
    return build_model(nvidia_pickle.read(GOLDEN / "pickles" / f"{name}.pkl", which))


def label_of(labels: Array) -> Array | None:
    return labels if labels.shape[1] else None


def assert_close(actual: Any, expected: Array) -> None:
    """Within 80 roundings of the largest number: sums of a few hundred terms, in layers one after the other."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_all_files_are_there() -> None:
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_images(name: str, golden: Golden) -> None:
    G, arrays = built(name, "G_ema"), golden(f"pickles/{name}")
    z, label = arrays["z"], label_of(arrays["c"])
    inputs = {"z": z, "label": label}
    assert_close(G.mapping(z, label, truncation_psi=0.7), arrays["G_ema/ws"])
    assert_close(G(inputs), arrays["G_ema/psi1"])
    assert_close(G(inputs, truncation_psi=0.7), arrays["G_ema/psi.7"])
    assert_close(G(inputs, truncation_psi=-0.5, truncation_cutoff=3), arrays["G_ema/psi-.5cut3"])
    if name.startswith("stylegan2"):
        assert_close(G.synthesis(G.mapping(z, label), noise="none"), arrays["G_ema/nonoise"])
    else:
        moved = G(inputs, truncation_psi=0.7, transform=transform_matrix(0.4, 0.1, -0.2))
        assert_close(moved, arrays["G_ema/transform"])


@pytest.mark.parametrize("name", WITH_D)
def test_logits(name: str, golden: Golden) -> None:
    arrays = golden(f"pickles/{name}")
    assert_close(built(name, "D")(arrays["img"], label=label_of(arrays["c8"])), arrays["D/logits"])


def test_a_file_of_the_average_alone() -> None:
    with pytest.raises(UnsupportedNetworkError, match="D is not in the file: it has G_ema"):
        built("t-only-average", "D")
