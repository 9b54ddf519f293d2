"""upfirdn2d against its definition, in every type, context and order of gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sg3tf.models.filters import low_pass
from sg3tf.ops import upfirdn2d
from tests.conftest import Golden
from tests.helpers import contexts
from tests.helpers.backends import BACKENDS
from tests.helpers.numerics import Array, Rounding, derivative, magnitude_kernel, nchw, nhwc, relative_error
from tests.helpers.reference import resampling as reference
from tests.helpers.reference.resampling import kernel2d, matrix, rows
from tests.helpers.unknown_shapes import gradients_of_a_slice

SHAPE = (2, 9, 7, 3)


def taps(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


CASES: dict[str, dict[str, Any]] = {
    "up": {"taps": low_pass(12, 4, 12, 32), "up": 2, "pad": (6, 5, 6, 5), "gain": 4.0},
    "down": {"taps": taps(3, 4), "down": 2, "pad": (1, 2, 2, 1), "flip_filter": True},
    "up 3, down 2": {"taps": taps(7), "up": 3, "down": 2, "pad": (4, 2, 3, 5)},
    "up 2, down 3, cropped": {"taps": taps(2, 4), "up": 2, "down": 3, "pad": (3, -4, -3, 6), "gain": -1.5},
    "no filter": {"taps": None, "down": 2, "pad": (-2, 1, 0, -3), "gain": 2.0},
    "two axes": {"taps": taps(3, 5), "up": (3, 1), "down": (1, 4), "pad": (0, 2, 4, 3)},
    "samples without a tap": {"taps": taps(2), "up": 4, "pad": (1, 1, 1, 1)},
    "one sample left": {"taps": taps(7, 3), "down": 5},
    "fewer samples than phases": {"taps": taps(13), "up": 2, "down": 3, "pad": (11, -14, 11, -10)},
    "all of it cropped": {"taps": taps(3), "pad": (-9, 4, 2, 0)},
}


def images(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def magnitude(options: dict[str, Any]) -> dict[str, Any]:
    """The same resampling with all products positive: what rounding errors are measured by."""
    return {**options, "taps": magnitude_kernel(options["taps"]), "gain": abs(options.get("gain", 1.0))}


CASES["radial"] = {"taps": low_pass(12, 8, 6, 64, radial=True), "pad": (5, 6, 5, 6), "down": 2}


def rounding(options: dict[str, Any], dtype: tf.DType) -> Rounding:
    kernel = kernel2d(options["taps"])
    return Rounding(dtype.as_numpy_dtype, sum(kernel.shape) + min(kernel.shape))


def value_and_gradient(x: tf.Tensor, gy: Array, **options: Any) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = upfirdn2d(x, **options)
    return y, tape.gradient(y, x, tf.ones_like(y) * tf.cast(gy, x.dtype))


def check(options: dict[str, Any], dtype: tf.DType, impl: str, shape: tuple[int, ...] = SHAPE) -> None:
    """Value and gradient against the definition, as exactly as the type allows."""
    x = tf.cast(images(1, shape), dtype)
    exact = reference.upfirdn2d(nchw(x), **options)
    gy = tf.cast(images(2, nhwc(exact).shape), dtype)
    y, gx = value_and_gradient(x, gy, impl=impl, **options)
    assert (y.dtype, gx.dtype) == (dtype, dtype)
    close = rounding(options, dtype)
    close.check(y, nhwc(exact), nhwc(reference.upfirdn2d(np.abs(nchw(x)), **magnitude(options))))

    def transposed(options: dict[str, Any], gy: Array) -> Array:
        a, _ = matrix(lambda plane: reference.upfirdn2d(plane, **options), shape[1:3])
        return nhwc((rows(gy) @ a).reshape(nchw(x).shape))

    close.check(gx, transposed(options, nchw(gy)), transposed(magnitude(options), np.abs(nchw(gy))))


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case: str, impl: str) -> None:
    check(CASES[case], tf.float32, impl)


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("dtype", [tf.float64, tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("case", ["up", "up 2, down 3, cropped"])
def test_other_types(case: str, dtype: tf.DType, impl: str) -> None:
    check(CASES[case], dtype, impl)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Arguments of upfirdn2d and the shape of x."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((0, 2), (1, 9), (1, 9), (1, 3)))
    taps_shape = draw(st.one_of(st.none(), st.tuples(st.integers(1, 9)), st.tuples(*[st.integers(1, 7)] * 2)))
    factor = st.one_of(st.integers(1, 5), st.tuples(*[st.integers(1, 4)] * 2))
    options = {
        "taps": None if taps_shape is None else taps(*taps_shape),
        "up": draw(factor),
        "down": draw(factor),
        "pad": tuple(draw(st.integers(-4, 9)) for _ in range(4)),
        "flip_filter": draw(st.booleans()),
        "gain": draw(st.sampled_from([1.0, -0.5, 4.0])),
    }
    (up_y, up_x), (top, bottom, left, right) = reference.pair(options["up"]), options["pad"]
    kernel = kernel2d(options["taps"]).shape
    assume(shape[1] * up_y + top + bottom >= kernel[0] and shape[2] * up_x + left + right >= kernel[1])
    return options, shape


@given(geometries())
@settings(max_examples=150)
def test_any_geometry(geometry: tuple[dict[str, Any], tuple[int, ...]]) -> None:
    options, shape = geometry
    check(options, tf.float64, "matmul", shape)


@pytest.mark.slow  # compiles two functions per example
@given(geometries())
@settings(max_examples=8)
def test_any_geometry_compiled(geometry: tuple[dict[str, Any], tuple[int, ...]]) -> None:
    options, shape = geometry
    assume(shape[0])  # test_contexts has the empty batch
    check(options, tf.float64, "xla", shape)


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("case", ["up", "down", "up 2, down 3, cropped"])
def test_gradient_is_the_adjoint(case: str, impl: str) -> None:
    x = tf.constant(images(1))
    gy = images(2, upfirdn2d(x, **CASES[case], impl=impl).shape)
    y, gx = value_and_gradient(x, gy, impl=impl, **CASES[case])
    assert np.vdot(y, gy) == pytest.approx(np.vdot(x, gx), rel=1e-12)


@pytest.mark.parametrize("impl", BACKENDS)
def test_finite_differences(impl: str) -> None:
    options = CASES["up 2, down 3, cropped"]
    x = tf.constant(images(1, (1, 5, 4, 2)))

    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(upfirdn2d(x, **options, impl=impl) ** 3)
        return tape.gradient(y, x)

    for function in (lambda x: upfirdn2d(x, **options, impl=impl), gradient):
        (ours,), (differences,) = tf.test.compute_gradient(function, [x], delta=1e-4)
        np.testing.assert_allclose(ours, differences, rtol=1e-6, atol=1e-7 * np.abs(ours).max())


@pytest.mark.parametrize("impl", BACKENDS)
def test_three_orders_of_gradient(impl: str) -> None:
    """f(t) = sum of c (A (x + t d))^3 has derivatives that the definition of A gives in closed form."""
    options = CASES["up 3, down 2"]
    x, d = images(1), images(2)
    a, b = (reference.upfirdn2d(nchw(v), **options) for v in (x, d))
    c = nchw(images(3, nhwc(a).shape))
    expected = [np.sum(c * a**3), np.sum(3 * c * a**2 * b), np.sum(6 * c * a * b**2), np.sum(6 * c * b**3)]

    f = [lambda t: tf.reduce_sum(nhwc(c) * upfirdn2d(x + t * d, **options, impl=impl) ** 3)]
    for _ in range(3):
        f.append(derivative(f[-1]))
    ours = [function(tf.constant(0.0, tf.float64)) for function in f]
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("index", range(7))
def test_golden(golden: Golden, index: int, impl: str) -> None:
    arrays = golden("upfirdn2d")
    g = {key.split("/")[1]: value for key, value in arrays.items() if key.startswith(f"{index}/")}
    left, right, top, bottom = g["padding_x0_x1_y0_y1"]
    y, gx = value_and_gradient(
        tf.constant(nhwc(g["x"])),
        nhwc(g["gy"]),
        taps=g.get("f"),
        up=g["up_x_y"][::-1],
        down=g["down_x_y"][::-1],
        pad=(top, bottom, left, right),
        flip_filter=bool(g["flip_filter"]),
        gain=float(g["gain"]),
        impl=impl,
    )
    assert relative_error(y, nhwc(g["y"])) < 1e-5
    assert relative_error(gx, nhwc(g["gx"])) < 1e-5


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("context", contexts.CONTEXTS)
def test_contexts(context: str, impl: str, tmp_path: Path) -> None:
    options = CASES["up 2, down 3, cropped"]
    x = np.float32(images(1))
    gy = images(2, upfirdn2d(x, **options, impl="matmul").shape)[:1]  # the same for every image

    def function(x: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return value_and_gradient(x, gy, impl=impl, **options)

    expected = value_and_gradient(tf.constant(x, tf.float64), gy, impl="matmul", **options)
    for count in (2, 0):  # an empty batch is a batch
        results = contexts.run(context, function, x[:count], tmp_path / str(count))
        for ours, exact in zip(results, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, exact[:count], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"up": 0}, "up=0: give a positive integer or a pair"),
        ({"up": 1.5}, "up=1.5: give a positive integer or a pair"),
        ({"down": (1, 2, 3)}, r"down=\(1, 2, 3\): give a positive integer or a pair"),
        ({"down": (2, -1)}, r"down=\(2, -1\): give a positive integer or a pair"),
        ({"pad": (1, 2, 3)}, r"pad=\(1, 2, 3\): give four integers"),
        ({"pad": 1}, r"pad=1: give four integers"),
        ({"pad": (1, 2, 3, 0.5)}, r"pad=\(1, 2, 3, 0.5\): give four integers"),
        ({"taps": np.ones([2, 2, 2])}, r"taps of shape \(2, 2, 2\): give \[K\], \[Kh, Kw\] or None"),
        ({"taps": []}, r"taps of shape \(0,\): give \[K\]"),
        ({"taps": np.ones(8)}, "x of height 9 and width 7 is smaller than its filter .*: increase pad"),
        ({"impl": "cuda"}, "impl='cuda': use 'auto', 'native', 'xla', 'matmul'"),
        ({"x": np.ones([9, 7, 3])}, r"x of shape \(9, 7, 3\): give \[N, H, W, C\]"),
        ({"x": np.ones([1, 9, 7, 3], int)}, "x of type int64: cast it"),
    ],
)
def test_errors_name_argument_value_and_remedy(changed: dict[str, Any], message: str) -> None:
    arguments = {"x": images(1), "taps": np.ones(3), **changed}
    with pytest.raises(ValueError, match=message):
        upfirdn2d(**arguments)


def test_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x of shape \(None, 8, None, 3\): give .* known"):
        tf.function(lambda x: upfirdn2d(x, None)).get_concrete_function(tf.TensorSpec([None, 8, None, 3]))


@pytest.mark.parametrize("impl", ["matmul", pytest.param("native", marks=pytest.mark.native)])
def test_gradients_where_static_shapes_are_lost(impl: str) -> None:
    def operation(x: tf.Tensor) -> tf.Tensor:
        return upfirdn2d(x, [1, 3, 3, 1], up=2, pad=(2, 1, 2, 1), impl=impl) ** 2

    in_graph, eager = gradients_of_a_slice(operation, np.random.default_rng(0).normal(size=(2, 6, 5, 3)))
    for ours, expected in zip(in_graph, eager, strict=True):
        assert np.any(expected != 0) and relative_error(ours, expected) < 1e-14
