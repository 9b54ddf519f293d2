"""Geometry of upfirdn2d and filters as sums of separable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sg3tf.models.filters import low_pass
from sg3tf.models.layer_plan import plan_synthesis
from sg3tf.models.presets import generator_preset
from sg3tf.ops.geometry import Axis, Filter, Resampling, rank_tolerance

axes = st.builds(
    Axis,
    up=st.integers(1, 5),
    down=st.integers(1, 5),
    before=st.integers(-6, 12),
    after=st.integers(-6, 12),
    num_taps=st.integers(1, 9),
)


def matrix(axis: Axis, taps: np.ndarray, in_size: int) -> np.ndarray:
    """The definition, one output and one tap at a time: [out, in]."""
    result = np.zeros([axis.out_size(in_size), in_size])
    for out in range(len(result)):
        for k, tap in enumerate(taps):
            position = out * axis.down + k - axis.before
            if position % axis.up == 0 and 0 <= position // axis.up < in_size:
                result[out, position // axis.up] += tap
    return result


@given(axes, st.integers(1, 12))
def test_size_counts_the_windows_that_fit(axis: Axis, in_size: int) -> None:
    padded = in_size * axis.up + axis.before + axis.after
    assume(padded >= axis.num_taps)
    starts = range(0, padded - axis.num_taps + 1, axis.down)
    assert axis.out_size(in_size) == len(starts)


@given(axes, st.integers(1, 12), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_adjoint_axis_is_the_transposed_matrix(axis: Axis, in_size: int, random: Any) -> None:
    assume(axis.out_size(in_size) >= 1)
    taps = np.array([random.uniform(-1, 1) for _ in range(axis.num_taps)])
    adjoint = axis.adjoint(in_size)
    assert adjoint.out_size(axis.out_size(in_size)) == in_size
    np.testing.assert_array_equal(matrix(adjoint, taps[::-1], axis.out_size(in_size)), matrix(axis, taps, in_size).T)


@given(axes, st.integers(1, 12), st.randoms(use_true_random=False))
def test_matrix(axis: Axis, in_size: int, random: Any) -> None:
    assume(axis.out_size(in_size) >= 1)
    taps = [random.uniform(-1, 1) for _ in range(axis.num_taps)]
    np.testing.assert_array_equal(axis.matrix(taps, in_size), matrix(axis, np.array(taps), in_size))


def outer_sum(kernel: Filter) -> np.ndarray:
    return np.einsum("ry,rx->yx", kernel.y, kernel.x)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(5,), (4, 4), (7, 5), (1, 6)])
def test_filter_is_the_sum_of_its_terms(shape: tuple[int, ...], flip: bool) -> None:
    taps = np.random.default_rng(0).normal(size=shape)
    kernel = Filter.from_taps(taps, flip, gain=2.5)
    whole = 2.5 * (np.outer(taps, taps) if taps.ndim == 1 else taps)
    expected = whole if flip else whole[::-1, ::-1]
    np.testing.assert_allclose(outer_sum(kernel), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(outer_sum(kernel.adjoint()), expected[::-1, ::-1], rtol=0, atol=1e-13)


def test_filter_has_no_more_terms_than_needed() -> None:
    row, column = np.arange(1.0, 6), np.array([1.0, -2, 0.5])
    assert len(Filter.from_taps(row, False, 1.0).y) == 1
    assert len(Filter.from_taps(np.outer(column, row), False, 1.0).y) == 1
    assert len(Filter.from_taps(np.outer(column, row) + np.outer(column**2, row**2), False, 1.0).y) == 2
    assert len(Filter.from_taps(np.zeros([3, 4]), False, 1.0).y) == 1
    np.testing.assert_array_equal(outer_sum(Filter.from_taps(None, False, 3.0)), [[3.0]])


@pytest.mark.parametrize(
    ("dtype", "most"),
    [
        ("float32", {16: 5, 64: 5, 256: 5, 1024: 5}),
        ("float16", {16: 4, 64: 4, 256: 4, 1024: 3}),
        ("bfloat16", {16: 4, 64: 4, 256: 3, 1024: 3}),
    ],
)
@pytest.mark.parametrize("resolution", [16, 64, 256, 1024])
def test_radial_filters_have_few_terms(resolution: int, dtype: str, most: dict[int, int]) -> None:
    counts = []
    for layer in plan_synthesis(generator_preset("stylegan3-r", resolution)).layers:
        if not layer.use_radial_filters:
            continue
        taps = low_pass(layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, True)
        kernel = Filter.from_taps(taps, False, 1.0, dtype)
        counts.append(len(kernel.y))
        left_out = np.linalg.norm(outer_sum(kernel) - taps, 2) / np.linalg.norm(taps, 2)
        assert left_out <= rank_tolerance(dtype)
    assert min(counts) >= 2 and max(counts) == most[resolution]


def test_pairs_are_vertical_then_horizontal() -> None:
    resampling = Resampling.create(np.ones([3, 5]), (2, 4), (3, 1), (1, 2, 3, 4), False, 1.0)
    assert resampling.axes == (Axis(2, 3, 1, 2, 3), Axis(4, 1, 3, 4, 5))
    assert resampling.out_size(6, 7) == ((12 + 3 - 3) // 3 + 1, 28 + 7 - 5 + 1)
    transposed = resampling.adjoint(6, 7)
    assert transposed.out_size(*resampling.out_size(6, 7)) == (6, 7)
