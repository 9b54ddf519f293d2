"""Pickles of the first StyleGAN: every array in its place, images of the float64 reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sg3tf
from sg3tf.convert import nvidia_pickle, weights
from sg3tf.convert.from_pickle import convert_pickle
from sg3tf.convert.official_network import UnsupportedNetworkError
from sg3tf.models.loading import load
from tests.helpers.numerics import Array, nchw, relative_error
from tests.helpers.official_writer import Network, dumps
from tests.helpers.reference import stylegan1 as reference

OPTIONS = {
    "num_channels": 3, "resolution": 16, "label_size": 0, "latent_size": 6, "dlatent_size": 5, "mapping_fmaps": 5,
    "mapping_layers": 3, "fmap_base": 32, "fmap_max": 4, "blur_filter": [1, 2, 1],
}  # fmt: skip


def arrays() -> dict[str, Array]:
    options: dict[str, Any] = {"z_dim": 6, "w_dim": 5, "mapping_layers": 3, "channel_base": 64, "channel_max": 4}
    G = sg3tf.Generator.from_preset("stylegan1", 16, **options)
    rng = np.random.RandomState(0)
    return {name: rng.randn(*value.shape).astype(np.float32) for name, value in weights.to_arrays(G).items()}


def stored(given: dict[str, Array], **options: Any) -> Network:
    """Return a file of the code for TensorFlow 1, with a ToRGB layer of a lower resolution left over from growing."""

    def part(name: str) -> dict[str, Array]:
        return {key.removeprefix(f"{name}/"): value for key, value in given.items() if key.startswith(f"{name}/")}

    earlier = {"ToRGB_lod1/weight": np.zeros([1, 1, 4, 3], np.float32), "ToRGB_lod1/bias": np.zeros(3, np.float32)}
    return Network(
        "G_style",
        {**OPTIONS, **options},
        {"dlatent_avg": given["dlatent_avg"], "lod": np.float32(0)},
        mapping=Network("G_mapping", {}, part("mapping")),
        synthesis=Network("G_synthesis", {}, {**part("synthesis"), **earlier, "lod": np.float32(0)}),
    )


def test_images_are_those_of_the_reference(tmp_path: Path) -> None:
    given = arrays()
    (tmp_path / "network.pkl").write_bytes(dumps((stored(given),) * 3, 2))
    network = nvidia_pickle.read(tmp_path / "network.pkl")
    assert sorted(network.arrays) == sorted(given)
    G = load(convert_pickle(tmp_path / "network.pkl", tmp_path / "out") / "G_ema.keras")
    z = np.random.RandomState(1).randn(2, 6).astype(np.float32)
    assert relative_error(nchw(G(z).numpy()), reference.generator(given, z, 16, layers=3)) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"), [({"label_size": 3}, "label_size=3: only 0"), ({"use_wscale": False}, "use_wscale=False")]
)
def test_other_networks_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "network.pkl").write_bytes(dumps((stored(arrays(), **options),) * 3, 2))
    with pytest.raises(UnsupportedNetworkError, match=message):
        nvidia_pickle.read(tmp_path / "network.pkl")
