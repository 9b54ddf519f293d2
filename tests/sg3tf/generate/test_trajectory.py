"""Points on the way through keyframes."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.generate.commands.interpolate import cells
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.shared_flags import from_seeds
from sg3tf.generate.trajectory import Trajectory, interpolate_keyframes
from sg3tf.latents import slerp, transform_matrix, z_from_seeds


def test_keyframes_are_met(network: Network) -> None:
    keyframes = from_seeds(network, [3, 1, 4])
    for curve in ("cubic", "lerp", "slerp"):
        points = interpolate_keyframes(network, keyframes, Trajectory(frames=4, curve=curve))
        assert points.ws.shape == (9, 8, 5) and points.transform is None
        np.testing.assert_allclose(points.ws[::4], keyframes.ws, rtol=0, atol=1e-5)


def test_slerp_goes_through_z(network: Network, classes: Network) -> None:
    points = interpolate_keyframes(network, from_seeds(network, [3, 1]), Trajectory(frames=4, curve="slerp"))
    z = z_from_seeds([3, 1], 6)
    np.testing.assert_allclose(points.ws[1], network.map(slerp(*z, [0.25]))[0], rtol=0, atol=1e-6)
    label = np.float32([0, 1, 0])
    points = interpolate_keyframes(
        classes, from_seeds(classes, [3, 1], label=label), Trajectory(frames=4, curve="slerp")
    )
    np.testing.assert_allclose(points.ws[3], classes.map(slerp(*z, [0.75]), label=label)[0], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="curve=slerp: goes through the z of seeds; use cubic or lerp for saved"):
        interpolate_keyframes(network, Latents(points.ws), Trajectory(curve="slerp"))


def test_truncation_along_the_way(network: Network) -> None:
    keyframes = from_seeds(network, [3, 1])
    full = interpolate_keyframes(network, keyframes, Trajectory(frames=4)).ws
    points = interpolate_keyframes(network, keyframes, Trajectory(frames=4, psi=[1, 0], cutoff=6))
    for number, psi in enumerate([1, 0.75, 0.5, 0.25, 0]):
        expected = network.w_avg + psi * (full[number, :6] - network.w_avg)
        np.testing.assert_allclose(points.ws[number, :6], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(points.ws[:, 6:], full[:, 6:])


def test_motion_along_the_way(network: Network, stylegan2: Network) -> None:
    keyframes = from_seeds(network, [3, 1])
    way = Trajectory(frames=4, loop=True, motion=[[0, 0, 0], [2 * np.pi, 0.8, 0]])
    moved = interpolate_keyframes(network, keyframes, way).transform
    assert moved is not None and len(moved) == 8
    np.testing.assert_allclose(moved[3], transform_matrix(2 * np.pi * 3 / 8, 0.3, 0), rtol=0, atol=1e-6)
    saved = transform_matrix(0.3, 0.1, 0.2)
    projected = Latents(keyframes.ws, np.stack([saved, saved]))
    moved = interpolate_keyframes(network, projected, Trajectory(frames=1, motion=[[0, 0, 0], [0, 0.25, 0]])).transform
    assert moved is not None
    # The picture as it was saved, shifted as a whole: first back by the shift, then by what was saved.
    np.testing.assert_allclose(moved[1], saved @ transform_matrix(0, 0.25, 0), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="StyleGAN2 cannot be moved"):
        interpolate_keyframes(stylegan2, from_seeds(stylegan2, [3, 1]), way)


def test_cells_share_the_keyframes(network: Network) -> None:
    keyframes = from_seeds(network, [3, 1, 4, 5, 9, 2])
    points = cells(network, keyframes, Trajectory(frames=4, psi=[0.5]), count=2)
    for cell in range(2):
        alone = interpolate_keyframes(network, keyframes[3 * cell : 3 * cell + 3], Trajectory(frames=4, psi=[0.5]))
        np.testing.assert_array_equal(points.ws[cell::2], alone.ws)
    with pytest.raises(ValueError, match="6 keyframes: give a multiple of the 4 films of the grid"):
        cells(network, keyframes, Trajectory(), count=4)
