"""Trajectories through keyframes: curves, truncation and transforms along them, and grids of videos."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sg3tf.generate import trajectory
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.seeds import latents_from_seeds
from sg3tf.generate.trajectory import Trajectory, interpolate_keyframes
from sg3tf.generate.videos import interpolate_grid
from sg3tf.latents import slerp, transform_matrix, z_from_seeds

KEYFRAMES = np.random.default_rng(0).standard_normal([4, 3, 5])


@pytest.mark.parametrize(
    ("keyframes", "frames", "loop", "expected"),
    [
        (3, 2, False, [0, 0.5, 1, 1.5, 2]),
        (3, 2, True, [0, 0.5, 1, 1.5, 2, 2.5]),
        (1, 4, True, [0, 0.25, 0.5, 0.75]),
        (1, 2, False, [0, 0.5, 1]),
    ],
)
def test_times(keyframes: int, frames: int, loop: bool, expected: list[float]) -> None:
    np.testing.assert_allclose(trajectory.times(keyframes, frames, loop), expected)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("curve", trajectory.CURVES)
def test_curves_go_through_their_keyframes(curve: str, loop: bool) -> None:
    t = trajectory.times(4, 5, loop)
    points = trajectory.interpolate(KEYFRAMES, t, curve, loop)
    assert (points.shape, points.dtype) == ((len(t), 3, 5), np.float32)
    np.testing.assert_allclose(points[::5], KEYFRAMES, rtol=1e-5, atol=1e-6)
    if loop:  # on the way from the last to the first
        np.testing.assert_allclose(
            trajectory.interpolate(KEYFRAMES, [4.0], curve, loop)[0], KEYFRAMES[0], rtol=1e-5, atol=1e-6
        )


def test_straight_and_round_ways() -> None:
    quarter = trajectory.interpolate(KEYFRAMES, [2.25], "lerp")[0]
    np.testing.assert_allclose(quarter, 0.75 * KEYFRAMES[2] + 0.25 * KEYFRAMES[3], rtol=0, atol=1e-6)
    z = KEYFRAMES[:, 0]
    np.testing.assert_allclose(
        trajectory.interpolate(z, [1.25], "slerp")[0], slerp(z[1], z[2], 0.25), rtol=0, atol=1e-6
    )
    closing = trajectory.interpolate(z, [3.5], "slerp", loop=True)[0]
    np.testing.assert_allclose(closing, slerp(z[3], z[0], 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("loop", [False, True])
def test_cubic_has_no_kinks(loop: bool) -> None:
    """Speed and acceleration, as differences on both sides of keyframe 1, and in a loop of keyframe 0."""
    h = 1e-2
    for t in (1.0, 4.0) if loop else (1.0,):
        near = [t - 2 * h, t - h, t, t + h, t + 2 * h]
        if t == 4:
            near = [t - 2 * h, t - h, 0, h, 2 * h]
        p = trajectory.interpolate(KEYFRAMES, near, "cubic", loop).astype(np.float64)
        speed_before, speed_after = (p[2] - p[1]) / h, (p[3] - p[2]) / h
        bend_before, bend_after = (p[2] - 2 * p[1] + p[0]) / h**2, (p[4] - 2 * p[3] + p[2]) / h**2
        # Rounding to float32 moves a second difference by up to 4 * 2**-24 * 4 / h**2 = 0.01.
        np.testing.assert_allclose(speed_after - speed_before, h * (bend_before + bend_after) / 2, rtol=0, atol=2e-3)
        np.testing.assert_allclose(bend_after, bend_before, rtol=0, atol=0.05 + 0.05 * np.abs(bend_before).max())


def test_one_keyframe_stands_still() -> None:
    np.testing.assert_array_equal(
        trajectory.interpolate(KEYFRAMES[:1], [0, 0.5, 1]), np.repeat(KEYFRAMES[:1].astype("f4"), 3, 0)
    )


def test_unknown_curve() -> None:
    with pytest.raises(ValueError, match="curve=spiral: use one of cubic, lerp, slerp"):
        trajectory.interpolate(KEYFRAMES, [0.5], "spiral")


def test_resample() -> None:
    np.testing.assert_allclose(trajectory.resample([1, 0, 4], 5, loop=False), [1, 0.5, 0, 2, 4])
    np.testing.assert_allclose(trajectory.resample([0, 360], 4, loop=True), [0, 90, 180, 270])
    np.testing.assert_allclose(trajectory.resample([0.7], 3, loop=True), [0.7] * 3)
    np.testing.assert_allclose(trajectory.resample([[0, 1], [1, 0]], 3, loop=False), [[0, 1], [0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(trajectory.resample([2, 3], 1, loop=False), [2])


def test_motion_between_transforms() -> None:
    keyframes = [transform_matrix(np.radians(170), 0.1, 0), transform_matrix(np.radians(-170), 0.3, -0.2)]
    between = trajectory.interpolate_transforms(keyframes, [0.0, 0.5, 1.0], "lerp", loop=False)
    np.testing.assert_allclose(between[[0, 2]], keyframes, rtol=0, atol=1e-6)
    np.testing.assert_allclose(between[1], transform_matrix(np.radians(180), 0.2, -0.1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("curve", ["cubic", "lerp"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loop_continues_in_the_direction_of_its_turn(curve: str, sign: int) -> None:
    t = np.arange(12) / 4
    keyframes = [transform_matrix(sign * np.radians(angle), 0.1, -0.2) for angle in (0, 120, 240)]
    turn = trajectory.interpolate_transforms(keyframes, t, curve, loop=True)
    expected = [transform_matrix(sign * 2 * np.pi * each / 3, 0.1, -0.2) for each in t]
    np.testing.assert_allclose(turn, expected, rtol=0, atol=1e-6)
    # Back and forth, as before: no whole turn is left.
    keyframes = [transform_matrix(sign * np.radians(angle)) for angle in (170, -170, 150)]
    back = trajectory.interpolate_transforms(keyframes, [0, 0.5, 1, 1.5, 2, 2.5], "lerp", loop=True)
    expected = [transform_matrix(sign * np.radians(angle)) for angle in (170, 180, 190, 170, 150, 160)]
    np.testing.assert_allclose(back, expected, rtol=0, atol=1e-6)


def test_keyframes_are_met(network: Network) -> None:
    keyframes = latents_from_seeds(network, [3, 1, 4])
    for curve in ("cubic", "lerp", "slerp"):
        points = interpolate_keyframes(network, keyframes, Trajectory(frames=4, curve=curve))
        assert points.ws.shape == (9, 8, 5) and points.transform is None
        np.testing.assert_allclose(points.ws[::4], keyframes.ws, rtol=0, atol=1e-5)


def test_slerp_interpolates_z(network: Network, classes: Network) -> None:
    points = interpolate_keyframes(network, latents_from_seeds(network, [3, 1]), Trajectory(frames=4, curve="slerp"))
    z = z_from_seeds([3, 1], 6)
    np.testing.assert_allclose(points.ws[1], network.map(slerp(*z, [0.25]))[0], rtol=0, atol=1e-6)
    label = np.float32([0, 1, 0])
    points = interpolate_keyframes(
        classes, latents_from_seeds(classes, [3, 1], label=label), Trajectory(frames=4, curve="slerp")
    )
    np.testing.assert_allclose(points.ws[3], classes.map(slerp(*z, [0.75]), label=label)[0], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="curve=slerp: interpolates the z of seeds; use cubic or lerp for saved"):
        interpolate_keyframes(network, Latents(points.ws), Trajectory(curve="slerp"))


def test_slerp_keeps_the_truncation_of_its_keyframes(network: Network) -> None:
    """And multiplies it by that of the trajectory, as other curves do."""
    keyframes = latents_from_seeds(network, [3, 1, 4], [0.5])
    for psi in (None, [0.8]):
        round_way, spline = (
            interpolate_keyframes(network, keyframes, Trajectory(frames=4, curve=curve, psi=psi)).ws
            for curve in ("slerp", "cubic")
        )
        np.testing.assert_allclose(round_way[::4], spline[::4], rtol=0, atol=1e-5)
    full = network.map(z_from_seeds([3], network.z_dim))
    fading = latents_from_seeds(network, [3], [1, 0])  # the way between equal z stays there
    frames = interpolate_keyframes(network, fading, Trajectory(frames=4, curve="slerp", loop=True))
    for number, psi in enumerate([1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75]):
        expected = network.w_avg + psi * (full[0] - network.w_avg)
        np.testing.assert_allclose(frames.ws[number], expected, rtol=0, atol=1e-5)
    unknown = latents_from_seeds(network, [3, 1], [0.5], cutoff=2)
    with pytest.raises(ValueError, match=r"curve=slerp: .* truncation.*; leave them untruncated, and give Trajectory"):
        interpolate_keyframes(network, unknown, Trajectory(curve="slerp"))


def test_a_single_truncation_value_needs_no_list(network: Network) -> None:
    keyframes = latents_from_seeds(network, [3, 1])
    number, sequence = (
        interpolate_keyframes(network, keyframes, Trajectory(frames=2, psi=psi)) for psi in (0.7, [0.7])
    )
    np.testing.assert_array_equal(number.ws, sequence.ws)
    np.testing.assert_array_equal(number.psi, np.float32([0.7] * 3))


def test_truncation_along_a_trajectory(network: Network) -> None:
    keyframes = latents_from_seeds(network, [3, 1])
    full = interpolate_keyframes(network, keyframes, Trajectory(frames=4)).ws
    points = interpolate_keyframes(network, keyframes, Trajectory(frames=4, psi=[1, 0], cutoff=6))
    for number, psi in enumerate([1, 0.75, 0.5, 0.25, 0]):
        expected = network.w_avg + psi * (full[number, :6] - network.w_avg)
        np.testing.assert_allclose(points.ws[number, :6], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(points.ws[:, 6:], full[:, 6:])


def test_keyframes_that_are_truncated_already(network: Network) -> None:
    """The values of the trajectory do not describe its frames."""
    trajectory = Trajectory(frames=2, psi=[0.8])
    np.testing.assert_allclose(
        interpolate_keyframes(network, latents_from_seeds(network, [3, 1]), trajectory).psi, [0.8] * 3
    )
    for truncated in (latents_from_seeds(network, [3, 1], [0.5]), Latents(latents_from_seeds(network, [3, 1]).ws)):
        assert interpolate_keyframes(network, truncated, trajectory).psi is None


def test_motion_along_a_trajectory(network: Network, stylegan2: Network) -> None:
    keyframes = latents_from_seeds(network, [3, 1])
    turning = Trajectory(frames=4, loop=True, motion=[[0, 0, 0], [2 * np.pi, 0.8, 0]])
    moved = interpolate_keyframes(network, keyframes, turning).transform
    assert moved is not None and len(moved) == 8
    np.testing.assert_allclose(moved[3], transform_matrix(2 * np.pi * 3 / 8, 0.3, 0), rtol=0, atol=1e-6)
    saved = transform_matrix(0.3, 0.1, 0.2)
    projected = Latents(keyframes.ws, np.stack([saved, saved]))
    moved = interpolate_keyframes(network, projected, Trajectory(frames=1, motion=[[0, 0, 0], [0, 0.25, 0]])).transform
    assert moved is not None
    # The picture as it was saved, shifted as a whole: first back by the shift, then by what was saved.
    np.testing.assert_allclose(moved[1], saved @ transform_matrix(0, 0.25, 0), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="its images cannot be rotated and translated"):
        interpolate_keyframes(stylegan2, latents_from_seeds(stylegan2, [3, 1]), turning)


def test_cells_share_the_keyframes(network: Network) -> None:
    keyframes = latents_from_seeds(network, [3, 1, 4, 5, 9, 2])
    points = interpolate_grid(network, keyframes, Trajectory(frames=4, psi=[0.5]), cells=2)
    for cell in range(2):
        alone = interpolate_keyframes(network, keyframes[3 * cell : 3 * cell + 3], Trajectory(frames=4, psi=[0.5]))
        np.testing.assert_array_equal(points.ws[cell::2], alone.ws)
    with pytest.raises(ValueError, match="6 keyframes: give a multiple of the 4 cells of the grid"):
        interpolate_grid(network, keyframes, Trajectory(), cells=4)
    # Of cells whose keyframes are truncated and cells whose are not, no common psi describes the frames.
    half = dataclasses.replace(keyframes, psi=np.repeat(np.float32([1, 0.5]), len(keyframes) // 2))
    for latents in (half, half[::-1]):
        assert interpolate_grid(network, latents, Trajectory(frames=4, psi=[0.5]), cells=2).psi is None
