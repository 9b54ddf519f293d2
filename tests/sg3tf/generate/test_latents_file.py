"""Files of latents, and files of other content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg3tf.generate import latents_file
from sg3tf.generate.latents_file import Latents, Tiles
from sg3tf.generate.network import Network
from sg3tf.latents import z_from_seeds

WS = np.random.default_rng(0).standard_normal([3, 8, 5]).astype(np.float32)
FULL = Latents(
    WS,
    np.tile(np.eye(3, dtype=np.float32), [3, 1, 1]),
    np.array([2**32 - 1, 0, 7]),
    np.float32([0.5, 0.5, 1]),
    np.zeros([3, 0], np.float32),
)


@pytest.mark.parametrize("latents", [FULL, Latents(WS)], ids=["all", "ws alone"])
def test_round_trip(tmp_path: Path, network: Network, latents: Latents) -> None:
    path = tmp_path / "new" / "latents.npz"
    latents_file.save(path, latents)
    loaded = latents_file.load(path, network)
    assert loaded.arrays().keys() == latents.arrays().keys()
    for name, array in loaded.arrays().items():
        np.testing.assert_array_equal(array, latents.arrays()[name])
        assert array.dtype == latents.arrays()[name].dtype
    assert loaded.digest() == latents.digest()
    before = path.read_bytes()
    latents_file.save(path, loaded)
    assert path.read_bytes() == before


def test_names_as_text(tmp_path: Path, network: Network) -> None:
    path = str(tmp_path / "new" / "latents.npz")
    latents_file.save(path, FULL)
    np.testing.assert_array_equal(latents_file.load(path, network).ws, WS)
    tiles = Tiles(z_from_seeds([0], network.z_dim), np.arange(1), np.zeros([1, 0], np.float32))
    latents_file.save_tiles(str(tmp_path / "fakes.npz"), tiles)
    assert len(latents_file.load(str(tmp_path / "fakes.npz"), network)) == 1


def test_tiles_of_a_grid_are_mapped_by_the_network(tmp_path: Path, network: Network) -> None:
    z = z_from_seeds(range(4), network.z_dim)
    latents_file.save_tiles(tmp_path / "fakes.npz", Tiles(z, np.arange(4), np.zeros([4, 0], np.float32)))
    loaded = latents_file.load(tmp_path / "fakes.npz", network)
    np.testing.assert_array_equal(loaded.ws, network.map(z))
    assert loaded.names() == ["seed0000", "seed0001", "seed0002", "seed0003"]
    np.testing.assert_array_equal(loaded.psi, np.ones(4))  # nothing is truncated
    with np.load(tmp_path / "fakes.npz") as arrays:
        assert set(arrays) == {"z", "seeds", "label", "noise"} and arrays["noise"] == "const"
        np.testing.assert_array_equal(arrays["z"], z)


def test_tiles_have_labels_of_their_own(tmp_path: Path, classes: Network) -> None:
    z, label = z_from_seeds(range(3), classes.z_dim), np.eye(3, dtype=np.float32)[[2, 0, 1]]
    latents_file.save_tiles(tmp_path / "fakes.npz", Tiles(z, np.arange(3), label))
    loaded = latents_file.load(tmp_path / "fakes.npz", classes)
    for i in range(3):
        np.testing.assert_array_equal(loaded[[i]].ws, classes.map(z[[i]], label=label[i]))
    assert loaded.label is not None
    np.testing.assert_array_equal(loaded.label, label)


def test_digest_and_rows() -> None:
    digests = {FULL.digest(), Latents(WS).digest(), FULL[:2].digest(), FULL[[1, 0, 2]].digest()}
    assert len(digests) == 4
    np.testing.assert_array_equal(FULL[1:].seeds, [0, 7])
    assert len(FULL[[0, 0]]) == 2


def test_names() -> None:
    assert Latents(WS).names() == ["latent0000", "latent0001", "latent0002"]
    assert FULL[:2].names() == ["seed4294967295", "seed0000"]
    assert FULL[1:].names() == ["seed0000-trunc0.50", "seed0007-trunc1.00"]


def test_no_two_images_have_one_name() -> None:
    def names(count: int, **arrays: Any) -> list[str]:
        return Latents(np.zeros([count, 8, 5], np.float32), **arrays).names()

    seeds = np.array([3, 3, 3])
    sweep = names(3, seeds=seeds, psi=np.float32([0.701, 0.702, 0.703]))
    assert sweep == ["seed0003-trunc0.701", "seed0003-trunc0.702", "seed0003-trunc0.703"]
    sheet = names(4, seeds=np.array([0, 0, 1, 1]), label=np.eye(3, dtype=np.float32)[[0, 2, 0, 2]])
    assert sheet == ["seed0000-class0", "seed0000-class2", "seed0001-class0", "seed0001-class2"]
    assert names(3, seeds=seeds, label=np.float32([[0.5, 1], [2, 3], [0.5, 1]])) == [
        "seed0003-label0", "seed0003-label1", "seed0003-label0-1"
    ]  # fmt: skip
    assert names(3, seeds=seeds, label=np.ones([3, 2], np.float32)) == ["seed0003", "seed0003-1", "seed0003-2"]
    assert names(3, seeds=seeds, psi=np.float32([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1])) == [
        "seed0003-trunc0.500000000", "seed0003-trunc0.500000060", "seed0003-trunc1.000000000"
    ]  # fmt: skip


def test_projections_of_other_programs_are_read(tmp_path: Path, network: Network) -> None:
    np.savez(tmp_path / "projected_w.npz", w=WS)
    np.testing.assert_array_equal(latents_file.load(tmp_path / "projected_w.npz", network).ws, WS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": WS}, "has no array ws or z; give a file of --save_latents, or one beside a grid of a run"),
        ({"ws": WS[:, :7]}, r"ws of shape \(3, 7, 5\): this network takes \[N, 8, 5\]"),
        ({"ws": WS[:0]}, r"ws of shape \(0, 8, 5\): this network takes"),
        ({"ws": WS[0, 0, 0]}, r"ws of shape \(\): this network takes"),
        ({"ws": WS, "transform": np.eye(3)}, r"transform of shape \(3, 3\): this network takes \[N, 3, 3\]"),
        ({"ws": WS, "seeds": np.arange(2)}, r"seeds of shape \(2,\): this network takes \[3\]"),
        ({"ws": WS * np.nan}, "ws of type float32: give finite numbers"),
        ({"ws": WS.astype(str)}, "ws of type <U32: give finite numbers"),
        ({"z": np.zeros([3, 4])}, r"z of shape \(3, 4\): this network takes \[N, \d+\]"),
        ({"ws": np.array([None])}, "not an .npz file of arrays"),
    ],
)
def test_other_arrays(tmp_path: Path, network: Network, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=rf"latents=.*other\.npz: {message}") as caught:
        latents_file.load(tmp_path / "other.npz", network)
    assert "\n" not in str(caught.value)


def test_other_files(tmp_path: Path, network: Network) -> None:
    np.save(tmp_path / "array.npy", WS)
    (tmp_path / "text.npz").write_text("latents")
    (tmp_path / "empty.npz").write_bytes(b"")
    latents_file.save(tmp_path / "half.npz", FULL)
    (tmp_path / "half.npz").write_bytes((tmp_path / "half.npz").read_bytes()[:500])
    for name in ("array.npy", "text.npz", "empty.npz", "half.npz"):
        with pytest.raises(ValueError, match=rf"latents=.*{name}: not an .npz file of arrays"):
            latents_file.load(tmp_path / name, network)
    with pytest.raises(FileNotFoundError):
        latents_file.load(tmp_path / "nowhere.npz", network)
