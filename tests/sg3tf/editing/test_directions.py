"""Moving style vectors, and the file of directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg3tf.editing import directions as directions_file
from sg3tf.editing.directions import Directions, apply_direction

RNG = np.random.default_rng(0)
NUM_WS, W_DIM = 4, 3
W = RNG.standard_normal([1000, W_DIM]) * [1, 2, 3]


@pytest.fixture
def directions() -> Directions:
    return Directions.of(["a", "b"], [[0, 5, 0], [3, 0, 4]], W, [1, 2])


def test_length_and_deviation(directions: Directions):
    np.testing.assert_allclose(directions.vectors, [[0, 1, 0], [0.6, 0, 0.8]], atol=1e-7)
    np.testing.assert_allclose(directions.deviations, [W[:, 1].std(), (W @ [0.6, 0, 0.8]).std()], rtol=1e-6)


def test_moved(directions: Directions):
    ws = RNG.standard_normal([2, NUM_WS, W_DIM]).astype(np.float32)
    found = apply_direction(ws, directions, 1, [-1.5, 0, 2])
    assert found.shape == (2, 3, NUM_WS, W_DIM)
    np.testing.assert_array_equal(found[:, 1], ws)
    np.testing.assert_array_equal(found[:, :, [0, 3]], np.repeat(ws[:, None][:, :, [0, 3]], 3, axis=1))
    step = 2 * directions.deviations[1] * directions.vectors[1]
    np.testing.assert_allclose(found[:, 2, 1:3], ws[:, 1:3] + step, rtol=1e-6)


def test_numbers(directions: Directions):
    assert (directions.number("b"), directions.number("1"), directions.number("a")) == (1, 1, 0)
    for text in ("2", "c", "-1"):
        with pytest.raises(ValueError, match=f"direction={text}: give one of a, b, or 0 to 1"):
            directions.number(text)


def test_file(directions: Directions, tmp_path: Path):
    path = tmp_path / "folder" / "d.npz"
    directions_file.save(path, directions)
    loaded = directions_file.load(path, NUM_WS, W_DIM)
    assert loaded.names == directions.names
    for name in ("vectors", "deviations", "layers"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(directions, name))
    with pytest.raises(ValueError, match=r"d\.npz: vectors of shape \(2, 3\): this network has 4 style vectors of 5"):
        directions_file.load(path, NUM_WS, 5)
    with pytest.raises(ValueError, match=r"d\.npz: layers \[1, 2\]: this network has 2"):
        directions_file.load(path, 2, W_DIM)


def test_a_name_as_text(directions: Directions, tmp_path: Path):
    path = str(tmp_path / "folder" / "d.npz")
    directions_file.save(path, directions)
    assert directions_file.load(path, NUM_WS, W_DIM).names == directions.names


def test_other_files(tmp_path: Path):
    (tmp_path / "d.npz").write_text("no")
    with pytest.raises(ValueError, match="not a file written by --save_directions"):
        directions_file.load(tmp_path / "d.npz", NUM_WS, W_DIM)
    np.savez(tmp_path / "d.npz", names=["a"])
    with pytest.raises(ValueError, match="not a file written by --save_directions"):
        directions_file.load(tmp_path / "d.npz", NUM_WS, W_DIM)
