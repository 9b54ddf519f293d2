"""Latents: what seeds stand for, interpolation, mixing, transforms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.latents import lerp, mix, parse_seeds, slerp, transform_matrix, truncate, z_from_seeds
from tests.helpers.numerics import Array


def test_seeds_give_the_same_latents_everywhere() -> None:
    z = z_from_seeds([0, 42, 2**32 - 1])
    assert (z.shape, z.dtype) == ((3, 512), np.float32)
    expected = [1.7640524, 0.4001572, 0.978738, 2.2408931, 1.867558]  # Mersenne twister, polar method: frozen
    np.testing.assert_array_equal(z[0, :5], np.array(expected, np.float32))
    np.testing.assert_array_equal(z[1, :2], np.array([0.49671414, -0.1382643], np.float32))


def test_seeds_are_independent_of_one_another() -> None:
    np.testing.assert_array_equal(z_from_seeds([7, 3], 8)[1], z_from_seeds(iter([3]), 8)[0])
    assert z_from_seeds([], 8).shape == (0, 8)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed {seed}: must be from 0 to 4294967295"):
        z_from_seeds([1, seed])


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [3]), ("3,7-9", [3, 7, 8, 9]), ("5-5, 0", [5, 0]), ("4294967295", [2**32 - 1])]
)
def test_parse_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "1,,2", "-1", "1-", "1.5", "9-7", "3,9-7", "4294967296"])
def test_parse_seeds_names_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(ValueError, match=f"seeds={text}: give"):
        parse_seeds(text)


def unit(v: Array) -> Array:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def angle(a: Array, b: Array) -> Array:
    return np.arccos(np.clip(np.sum(unit(a) * unit(b), axis=-1), -1, 1))


vectors = st.integers(0, 10**6).map(lambda seed: np.random.RandomState(seed).randn(2, 7))


@given(vectors, st.floats(0, 1))
def test_slerp_turns_and_grows_evenly(ends: Array, t: float) -> None:
    a, b = ends * [[1.0], [3.0]]
    between = slerp(a, b, t).astype(np.float64)
    assert angle(a, between) == pytest.approx(t * angle(a, b), abs=1e-3)  # arccos of float32 near 1
    length = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
    assert np.linalg.norm(between) == pytest.approx(length, rel=1e-6)
    # In the plane of a and b.
    basis = np.linalg.qr(np.stack([a, b], 1))[0]
    np.testing.assert_allclose(basis @ (basis.T @ between), between, rtol=0, atol=1e-5)


def test_slerp_known_values() -> None:
    a, b = [2.0, 0, 0], [0, 2.0, 0]
    s = 2**0.5
    np.testing.assert_allclose(slerp(a, b, 0.5), [s, s, 0], rtol=1e-6)
    np.testing.assert_allclose(slerp(a, b, 1 / 3), [3**0.5, 1, 0], rtol=1e-6)
    assert slerp(a, b, 0.5).dtype == np.float32


def test_slerp_broadcasts() -> None:
    a, b = np.random.RandomState(0).randn(2, 4, 5)
    t = np.array([0, 0.25, 0.5, 1])
    each = slerp(a, b, t)
    np.testing.assert_allclose(each, [slerp(*abt) for abt in zip(a, b, t, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(each[[0, 3]], [a[0], b[3]], rtol=1e-6)
    assert slerp(a[0], b[0], t).shape == (4, 5)


def test_slerp_of_parallel_vectors() -> None:
    a = np.array([1.0, 2, 2])
    np.testing.assert_allclose(slerp(a, 3 * a, 0.5), 2 * a, rtol=1e-6)
    almost = a + [0, 1e-9, 0]
    np.testing.assert_allclose(slerp(a, almost, 0.3), a, rtol=1e-6)


def test_slerp_of_antiparallel_vectors_has_its_ends() -> None:
    a = np.array([1.0, 2, 2])
    np.testing.assert_allclose(slerp(a, -a, [0, 1]), [a, -a], rtol=1e-6)
    assert np.all(np.isfinite(slerp(a, -a, np.linspace(0, 1, 5))))


def test_lerp() -> None:
    a, b = np.random.RandomState(0).randn(2, 4, 3, 5)
    t = np.array([[0], [0.25], [0.5], [1]])
    np.testing.assert_allclose(lerp(a, b, t), a + t[..., None] * (b - a), rtol=0, atol=1e-6)
    assert lerp(a, b, 0.5).dtype == np.float32
    np.testing.assert_array_equal(lerp(a, b, 0), a.astype(np.float32))
    np.testing.assert_array_equal(lerp(a, b, 1), b.astype(np.float32))


def test_truncate() -> None:
    ws, average = np.random.RandomState(0).randn(3, 4, 5).astype(np.float32), np.float32([1, 2, 3, 4, 5])
    np.testing.assert_allclose(truncate(ws, average, 0.25), 0.75 * average + 0.25 * ws, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(truncate(ws, average), ws)
    each = truncate(ws, average, [0, 0.5, 1], cutoff=2)
    np.testing.assert_array_equal(each[0, :2], [average, average])
    np.testing.assert_allclose(each[1, :2], (average + ws[1, :2]) / 2, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(each[:, 2:], ws[:, 2:])
    np.testing.assert_array_equal(truncate(ws, average, 0, cutoff=0), ws)
    np.testing.assert_array_equal(truncate(ws, average, [0, 0.5, 1])[2], ws[2])


def test_mix_takes_the_named_layers() -> None:
    a, b = np.zeros([2, 5, 3]), np.ones([2, 5, 3])
    mixed = mix(a, b, [0, 3])
    np.testing.assert_array_equal(mixed[:, :, 0], [[1, 0, 0, 1, 0]] * 2)
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mix(a, b, []), a)
    np.testing.assert_array_equal(mix(a, b, range(5)), b)
    assert not a.any()


def test_mix_errors() -> None:
    a = np.zeros([2, 5, 3])
    with pytest.raises(ValueError, match=r"ws_a of shape \(2, 5, 3\), ws_b of shape \(1, 5, 3\): give two of"):
        mix(a, a[:1], [0])
    with pytest.raises(ValueError, match=r"ws_a of shape \(5, 3\), ws_b of shape \(5, 3\): give"):
        mix(a[0], a[0], [0])
    with pytest.raises(ValueError, match=r"layers=\[-1, 5\]: must be from 0 to 4"):
        mix(a, a, [0, -1, 5])


@given(st.floats(-7, 7), st.floats(-1, 1), st.floats(-1, 1))
def test_transform_is_the_inverse_of_the_motion(angle: float, tx: float, ty: float) -> None:
    matrix = transform_matrix(angle, tx, ty)
    assert (matrix.shape, matrix.dtype) == ((3, 3), np.float32)
    point = np.array([0.3, -0.2])
    turned = [point[0] * np.cos(angle) - point[1] * np.sin(angle), point[0] * np.sin(angle) + point[1] * np.cos(angle)]
    np.testing.assert_allclose(matrix @ [*(turned + np.array([tx, ty])), 1], [*point, 1], rtol=0, atol=1e-6)


def test_transform_known_values() -> None:
    np.testing.assert_array_equal(transform_matrix(), np.eye(3))
    np.testing.assert_array_equal(transform_matrix(0, 0.25, -0.5), np.float32([[1, 0, -0.25], [0, 1, 0.5], [0, 0, 1]]))
    # Clockwise on the screen takes the right hand side, x = 1, down, y = 1; the inverse takes it up.
    np.testing.assert_allclose(transform_matrix(np.pi / 2) @ [1, 0, 1], [0, -1, 1], rtol=0, atol=1e-7)
