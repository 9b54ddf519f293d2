"""Directions found in networks, and the edit command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.cli.drawing_flags import apply_transform
from sg3tf.cli.edit import parse_strengths
from sg3tf.editing import directions as directions_file
from sg3tf.editing.ganspace import ganspace_directions
from sg3tf.editing.interfacegan import Labels
from sg3tf.editing.sefa import sefa_directions
from sg3tf.generate import latents_file
from sg3tf.generate.edits import directions_from_labels, directions_from_samples, edit_latents
from sg3tf.generate.network import Network
from sg3tf.generate.seeds import latents_from_seeds
from sg3tf.latents import transform_matrix
from tests.sg3tf.generate.conftest import Command


def test_samples_of_any_network(network: Network):
    """An exported network computes them by Network.map, a Keras model by its mapping network: the same samples."""
    direct = network.sample_w(50, seed=3)
    mapped = network.map(np.random.default_rng(3).standard_normal([50, network.z_dim], np.float32))[:, 0]
    np.testing.assert_allclose(direct, mapped, atol=1e-5)
    assert direct.shape == (50, network.w_dim)
    assert not np.allclose(direct, network.sample_w(50, seed=4))


def test_labels_point_to_ones(network: Network):
    """Labels that are made of w by a plane: found again to a few degrees from 2000 of them."""
    w = network.sample_w(2000)
    plane = np.random.default_rng(0).standard_normal(network.w_dim)
    label = (w @ plane > np.median(w @ plane)).astype(float)
    label[::10] = np.nan
    directions = directions_from_labels(w, Labels("seed", np.arange(2000), {"up": label}), w, [0])
    assert directions.vectors[0] @ plane / np.linalg.norm(plane) > 0.98
    with pytest.raises(ValueError, match="flat: labels"):
        directions_from_labels(w, Labels("seed", np.arange(2000), {"flat": 0 * label}), w, [0])


def test_edited_points(network: Network):
    start = apply_transform(latents_from_seeds(network, [1, 2]), transform_matrix(0.3))
    directions = directions_from_samples(network.sample_w(100), 2, [*range(network.num_ws)])
    edited = edit_latents(start, directions, 1, parse_strengths("-1:1:3"))
    assert edited.seeds is None and edited.transform is not None and len(edited) == 6
    np.testing.assert_array_equal(edited.ws[[1, 4]], start.ws)
    step = directions.deviations[1] * directions.vectors[1]
    np.testing.assert_allclose(edited.ws[5], start.ws[1] + step, atol=1e-6)


def test_strengths():
    np.testing.assert_array_equal(parse_strengths("-3:3:7"), np.arange(-3, 4))
    np.testing.assert_array_equal(parse_strengths("1.5"), [1.5])
    for text in ("", "1:2", "1:2:3:4", "a:b:3", "0:1:0", "0:1:-2", "nan"):
        with pytest.raises(ValueError, match="give FIRST:LAST:COUNT"):
            parse_strengths(text)


def test_pca_command(command: Command, network: Network, tmp_path: Path):
    kept, latents, out = (tmp_path / name for name in ("d.npz", "l.npz", "o.png"))
    command(
        "edit",
        "--seeds=3,4",
        "--direction=pc1,0",
        "--strength=-2:2:3",
        "--num_samples=200",
        "--count=3",
        "--layers=0,2",
        f"--save_directions={kept}",
        f"--save_latents={latents}",
        f"--out={out}",
    )
    found = directions_file.load(kept, network.num_ws, network.w_dim)
    np.testing.assert_allclose(found.vectors, ganspace_directions(network.sample_w(200), 3), atol=1e-5)
    assert (found.names, found.layers.tolist()) == (("pc0", "pc1", "pc2"), [0, 2])
    edited = latents_file.load(latents, network)
    assert len(edited) == 2 * 2 * 3
    # Rows of the sheet: pc1 of both seeds, pc0 of both; the images at its right and lower ends are the last ones.
    picture = np.asarray(Image.open(out))
    np.testing.assert_array_equal(
        picture[-6 - 16 : -6, -6 - _width(picture) : -6 - _width(picture) + 16], network.synthesize(edited.ws[-1:])[0]
    )
    # What was saved is taken up again, with its layers and with others.
    again = tmp_path / "again.npz"
    command("edit", "--seeds=3", f"--directions={kept}", "--strength=2", f"--save_latents={again}", f"--out={out}")
    np.testing.assert_array_equal(latents_file.load(again, network).ws[0], edited.ws[8])
    command(
        "edit",
        "--seeds=3",
        f"--directions={kept}",
        "--strength=2",
        "--layers=1",
        f"--save_latents={again}",
        f"--out={out}",
    )
    changed = latents_file.load(again, network).ws[0] != latents_from_seeds(network, [3]).ws[0]
    assert np.flatnonzero(changed.any(1)).tolist() == [1]


def test_sefa_command(command: Command, network: Network, tmp_path: Path):
    kept = tmp_path / "d.npz"
    command(
        "edit",
        "--method=sefa",
        "--layers=2, middle",
        "--count=2",
        "--num_samples=50",
        "--seeds=0",
        f"--save_directions={kept}",
        f"--out={tmp_path / 'o.png'}",
    )
    found = directions_file.load(kept, network.num_ws, network.w_dim)
    np.testing.assert_allclose(found.vectors, sefa_directions(network.generator, [2, 3, 4], 2), atol=1e-6)


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_as_many_directions_as_w_allows(command: Command, network: Network, tmp_path: Path, method: str):
    """By default ten, but w may be smaller."""
    assert network.w_dim < 10
    kept = tmp_path / "d.npz"
    flags = [f"--method={method}", "--num_samples=50", "--seeds=0", f"--save_directions={kept}"]
    command("edit", *flags, f"--out={tmp_path / 'o.png'}")
    assert len(directions_file.load(kept, network.num_ws, network.w_dim).vectors) == network.w_dim


def test_labels_command(command: Command, network: Network, tmp_path: Path):
    """Labels of seeds, and the same of positions in a file with these seeds."""
    seeds = range(10, 40)
    latents = latents_from_seeds(network, seeds)
    label = (latents.ws[:, 0, 1] > np.median(latents.ws[:, 0, 1])).astype(int)
    latents_file.save(tmp_path / "l.npz", latents)
    _table(tmp_path / "seeds.csv", "seed", seeds, label)
    _table(tmp_path / "index.csv", "index", range(30), label)
    shared = ["--num_samples=50", "--seeds=0", f"--out={tmp_path / 'o.png'}"]
    seed_labels, index_labels = (f"--labels={tmp_path / name}" for name in ("seeds.csv", "index.csv"))
    of_file = f"--label_latents={tmp_path / 'l.npz'}"
    command("edit", seed_labels, f"--save_directions={tmp_path / 'a.npz'}", "--direction=up", *shared)
    command("edit", index_labels, of_file, f"--save_directions={tmp_path / 'b.npz'}", *shared)
    a, b = (directions_file.load(tmp_path / name, network.num_ws, network.w_dim) for name in ("a.npz", "b.npz"))
    np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-6)
    assert a.vectors[0].argmax() == 1
    with pytest.raises(ValueError, match="label_latents is missing"):
        command("edit", index_labels, *shared)
    with pytest.raises(ValueError, match="the labels are of seeds"):
        command("edit", seed_labels, of_file, *shared)
    _table(tmp_path / "index.csv", "index", range(1, 31), label)
    with pytest.raises(ValueError, match="holds 30, not 30 \\+ 1"):
        command("edit", index_labels, of_file, *shared)
    with pytest.raises(ValueError, match="method, labels: give one of them"):
        command("edit", seed_labels, "--method=pca", *shared)


def _table(path: Path, kind: str, numbers: range, label: np.ndarray) -> None:
    path.write_text(f"{kind},up\n" + "".join(f"{n},{value}\n" for n, value in zip(numbers, label, strict=True)))


def _width(picture: np.ndarray) -> int:
    """Distance of the last column's image from the right edge without the margin, which wider captions enlarge."""
    row = np.any(picture[-22:-6] != 255, axis=(0, 2))
    return len(row) - 6 - np.flatnonzero(row)[-1] + 15
