"""filtered_lrelu against its definition, in every type, context and order of gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sg3tf.models.filters import low_pass
from sg3tf.ops import filtered_lrelu, scale_channels, upfirdn2d
from tests.conftest import Golden
from tests.helpers import contexts
from tests.helpers.backends import BACKENDS
from tests.helpers.numerics import Array, Rounding, derivative, magnitude_kernel, nchw, nhwc, relative_error
from tests.helpers.reference import resampling as reference
from tests.helpers.unknown_shapes import gradients_of_a_slice

SHAPE = (2, 6, 5, 3)


def taps(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape) / math.prod(shape) ** 0.5


UP, DOWN = low_pass(12, 4, 12, 32), low_pass(12, 5, 11, 32)
RADIAL = low_pass(12, 5, 11, 32, radial=True)

CASES: dict[str, dict[str, Any]] = {
    "up 2, down 2": {"up_taps": UP, "down_taps": DOWN, "up": 2, "down": 2, "pad": (9, 10, 9, 10), "clamp": 256.0},
    "radial": {"up_taps": UP, "down_taps": RADIAL, "up": 2, "down": 2, "pad": (9, 10, 8, 11), "clamp": 0.8},
    "to RGB": {"up_taps": None, "down_taps": None, "gain": 1.0, "slope": 1.0, "clamp": 0.9},
    "cropped, flipped": {"up_taps": taps(5), "down_taps": taps(3, 2), "up": 3, "down": 2, "pad": (-3, 2, 4, -5),
                         "flip_filter": True, "gain": 1.3, "slope": 0.1},
    "rectified": {"up_taps": taps(2, 3), "down_taps": None, "up": 2, "pad": (3, 4, 2, 5), "slope": 0.0, "clamp": 0.7},
    "short": {"up_taps": taps(4), "down_taps": taps(3), "up": 2, "down": 2, "pad": (2, 3, 3, 2), "clamp": 1.0},
    "down only": {"up_taps": None, "down_taps": taps(3), "down": 3, "pad": (1, 0, 2, 0), "gain": 0.5},
}  # fmt: skip


def with_backends(cases: Iterable[Any], slow: Sequence[Any] = ()) -> list[Any]:
    """Every case on every backend; `slow` names those that XLA compiles for more than ten seconds."""
    marked = [pytest.param(case, "xla", marks=pytest.mark.slow if case in slow else ()) for case in cases]
    native = [pytest.param(case, "native", marks=pytest.mark.native) for case in cases]
    return [*marked, *native, *((case, "matmul") for case in cases)]


def images(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


class Results(NamedTuple):
    """Value of one filtered_lrelu, its gradients, and the gradient of <gx, v> with respect to gy."""

    y: Any
    gx: Any
    gb: Any
    ggy: Any


def results(x: tf.Tensor, bias: tf.Tensor, gy: tf.Tensor, v: tf.Tensor, **options: Any) -> Results:
    with tf.GradientTape() as outer:
        outer.watch(gy)
        with tf.GradientTape() as inner:
            inner.watch([x, bias])
            y = filtered_lrelu(x, bias=bias, **options)
        gx, gb = inner.gradient(y, [x, bias], gy)
    return Results(y, gx, gb, outer.gradient(gx, gy, v))


class Expected:
    """Results by the definition, and how far rounding may move them."""

    def __init__(self, options: dict[str, Any], x: Array, bias: Array) -> None:
        options = dict(options)
        filters = options.pop("up_taps"), options.pop("down_taps")
        self.exact = reference.FilteredLrelu(x.shape[2:], *filters, **options)
        linear = {"gain": 1.0, "slope": 1.0, "clamp": None}
        self.positive = reference.FilteredLrelu(x.shape[2:], *map(magnitude_kernel, filters), **{**options, **linear})
        self.value = reference.filtered_lrelu(x, *filters, bias, **options)
        self.options, self.x, self.bias = options, x, bias
        self.operations = sum(sum(reference.kernel2d(f).shape) + min(reference.kernel2d(f).shape) for f in filters)

    def check(self, ours: Results, gy: Array, v: Array) -> None:
        exact, positive, x, bias = self.exact, self.positive, self.x, self.bias
        close = Rounding(ours.y.dtype.as_numpy_dtype, self.operations)
        steepest = self.exact.options["gain"]
        size = positive.pre_activation(np.abs(x), np.abs(bias))
        every = np.full_like(size, steepest)
        slopes = exact.slopes(x, bias)
        # Rounding may put a sample on the other side of a kink.
        doubtful = np.where(exact.distance_to_kink(x, bias) < close.relative * size, steepest, 0.0)

        close.check(ours.y, nhwc(self.value), nhwc(positive.tangent(every, np.abs(x) + np.abs(bias)[:, None, None])))
        gx, gx_size = exact.cotangent(slopes, gy), positive.cotangent(every, np.abs(gy))
        gx_doubt = positive.cotangent(doubtful, np.abs(gy))
        close.check(ours.gx, nhwc(gx), nhwc(gx_size), nhwc(gx_doubt))
        count = math.prod(gx.shape) // gx.shape[1]
        total = Rounding(close.dtype, self.operations + count)
        rounded = close.last * np.abs(gx)  # a 16-bit gradient of x is what the one of the bias adds up
        total.check(ours.gb, *(s.sum((0, 2, 3)) for s in (gx, gx_size, gx_doubt + rounded)))
        ggy = exact.tangent(slopes, v), positive.tangent(every, np.abs(v)), positive.tangent(doubtful, np.abs(v))
        close.check(ours.ggy, *map(nhwc, ggy))


def check(options: dict[str, Any], dtype: tf.DType, impl: str, shape: tuple[int, ...] = SHAPE) -> None:
    x, v = (tf.cast(images(seed, shape), dtype) for seed in (1, 4))
    bias = tf.cast(images(3, shape[3:]), dtype)
    expected = Expected(options, nchw(x), np.asarray(bias, np.float64))
    gy = tf.cast(images(2, nhwc(expected.value).shape), dtype)
    ours = results(x, bias, gy, v, impl=impl, **options)
    assert {r.dtype for r in ours} == {dtype}
    expected.check(ours, nchw(gy), nchw(v))


@pytest.mark.parametrize(("case", "impl"), with_backends(CASES))
def test_value_and_gradients(case: str, impl: str) -> None:
    check(CASES[case], tf.float32, impl)


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("dtype", [tf.float64, tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("case", ["short", "down only"])
def test_other_types(case: str, dtype: tf.DType, impl: str) -> None:
    check(CASES[case], dtype, impl)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Arguments of filtered_lrelu and the shape of x."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((0, 2), (1, 5), (1, 5), (1, 2)))
    some_taps = st.one_of(
        st.none(), st.builds(taps, st.integers(1, 9)), st.builds(taps, st.integers(1, 3), st.integers(1, 6))
    )
    options = {
        "up_taps": draw(some_taps),
        "down_taps": draw(some_taps),
        "up": draw(st.integers(1, 4)),
        "down": draw(st.integers(1, 4)),
        "pad": tuple(draw(st.integers(-4, 12)) for _ in range(4)),
        "flip_filter": draw(st.booleans()),
        "gain": draw(st.sampled_from([1.0, 0.5, math.sqrt(2)])),
        "slope": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "clamp": draw(st.sampled_from([None, math.inf, 0.3, 256.0])),
    }
    up, (top, bottom, left, right) = options["up"], options["pad"]
    (up_y, up_x), (down_y, down_x) = (reference.kernel2d(options[name]).shape for name in ("up_taps", "down_taps"))
    assume(shape[1] * up + top + bottom >= up_y + down_y - 1 and shape[2] * up + left + right >= up_x + down_x - 1)
    return options, shape


@given(geometries())
@settings(max_examples=100)
def test_any_geometry(geometry: tuple[dict[str, Any], tuple[int, ...]]) -> None:
    options, shape = geometry
    check(options, tf.float64, "matmul", shape)


@pytest.mark.slow  # compiles three functions per example
@given(geometries())
@settings(max_examples=2)
def test_any_geometry_compiled(geometry: tuple[dict[str, Any], tuple[int, ...]]) -> None:
    options, shape = geometry
    assume(shape[0])  # test_contexts has the empty batch
    check(options, tf.float64, "xla", shape)


def linear_within(step: float, options: dict[str, Any], x: Array, bias: Array) -> bool:
    """Return True if no sample meets a kink while every number of x and bias moves by less than `step`."""
    exact = Expected(options, nchw(x), bias).exact
    return bool(np.all(exact.distance_to_kink(nchw(x), bias) >= 2 * step * np.abs(exact.up).sum(axis=1)))


@pytest.mark.parametrize("impl", BACKENDS)
def test_finite_differences(impl: str) -> None:
    options = CASES["short"]
    candidates = ((images(seed, (1, 3, 3, 2)), images(99 + seed, (2,))) for seed in range(99))
    x, bias = next((x, b) for x, b in candidates if all(linear_within(5e-5, options, i, b) for i in (x, x**3)))

    def function(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return filtered_lrelu(x, bias=bias, impl=impl, **options)

    def gradient(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Depends on x and bias smoothly, through what is around the piecewise linear function."""
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = tf.reduce_sum(function(x**3, bias) ** 3)
        return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(y, [x, bias])], 0)

    for f in (function, gradient):
        ours, differences = tf.test.compute_gradient(f, [tf.constant(x), tf.constant(bias)], delta=1e-6)
        for exact, approximate in zip(ours, differences, strict=True):
            np.testing.assert_allclose(exact, approximate, rtol=1e-5, atol=1e-7 * np.abs(exact).max())


@pytest.mark.parametrize("impl", BACKENDS)
def test_three_orders_of_gradient(impl: str) -> None:
    """f(t) = <c, filtered_lrelu((x + t d)^2, bias + t e)> is quadratic near 0: its Jacobian J is constant there."""
    options = CASES["cropped, flipped"]
    x, d, bias, e = images(1), images(2), images(3, SHAPE[3:]), images(4, SHAPE[3:])
    expected = Expected(options, nchw(x**2), bias)
    c = images(7, nhwc(expected.value).shape)
    slopes = expected.exact.slopes(nchw(x**2), bias)

    def along(v: Array) -> float:
        return float(np.sum(nchw(c) * expected.exact.tangent(slopes, nchw(v))))

    f = [lambda t: tf.reduce_sum(c * filtered_lrelu((x + t * d) ** 2, bias=bias + t * e, impl=impl, **options))]
    for _ in range(3):
        f.append(derivative(f[-1]))
    ours = [function(tf.constant(0.0, tf.float64)) for function in f]
    wanted = [np.sum(nchw(c) * expected.value), along(2 * x * d + e), along(2 * d**2), 0.0]
    np.testing.assert_allclose(ours, wanted, rtol=1e-11)


@pytest.mark.parametrize("impl", BACKENDS)
def test_the_second_derivative_of_a_piecewise_linear_function_is_zero_or_none(impl: str) -> None:
    x = tf.constant(images(1))
    with tf.GradientTape() as outer:
        outer.watch(x)
        gx = derivative(lambda x: filtered_lrelu(x, impl=impl, **CASES["down only"]))(x)
    second = outer.gradient(gx, x, unconnected_gradients="zero")
    np.testing.assert_array_equal(second, np.zeros(SHAPE))


# XLA would compile case 3 for two minutes: 1 has its upsampling by 4. "radial" above is 2 on smaller images.
LEFT_OUT = [(2, "xla"), (3, "xla")]
GOLDEN_CASES = [case for case in with_backends(range(7), slow=[1]) if getattr(case, "values", case) not in LEFT_OUT]


@pytest.mark.parametrize(("index", "impl"), GOLDEN_CASES)
def test_golden(golden: Golden, index: int, impl: str) -> None:
    arrays = golden("filtered_lrelu")
    g = {key.split("/")[1]: value for key, value in arrays.items() if key.startswith(f"{index}/")}
    left, right, top, bottom = g["padding_x0_x1_y0_y1"]
    ours = results(
        tf.constant(nhwc(g["x"])),
        tf.constant(g["b"]),
        tf.constant(nhwc(g["gy"])),
        tf.constant(nhwc(g["v"])),
        up_taps=g.get("fu"),
        down_taps=g.get("fd"),
        pad=(top, bottom, left, right),
        impl=impl,
        **{name: int(g[name]) for name in ("up", "down")},
        **{name: float(g[name]) for name in ("gain", "slope", "clamp")},
    )
    assert relative_error(ours.y, nhwc(g["y"])) < 1e-5
    assert relative_error(ours.gx, nhwc(g["gx"])) < 1e-5
    assert relative_error(ours.gb, g["gb"]) < 1e-5
    assert relative_error(ours.ggy, nhwc(g["ggy"])) < 1e-5


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16], ids=lambda dtype: dtype.name)
def test_nan_propagates(impl: str, dtype: tf.DType) -> None:
    """A clamped NaN would look like a plausible value, and overflows would go unnoticed."""
    x = np.where(np.arange(90).reshape(1, 6, 5, 3) == 46, np.nan, 1.0)
    options = {**CASES["short"], "impl": impl}
    up_taps, down_taps = options.pop("up_taps"), options.pop("down_taps")
    y = filtered_lrelu(tf.constant(x, dtype), up_taps, down_taps, tf.zeros([3], dtype), **options).numpy()
    assert np.any(np.isnan(y[..., 1])) and not np.any(np.isnan(y[..., [0, 2]]))


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("dtype", [tf.float64, tf.float32, tf.float16], ids=lambda dtype: dtype.name)
def test_derivatives_at_the_kinks(impl: str, dtype: tf.DType) -> None:
    """Zero has the derivative of positive numbers; the clamp itself that of what lies beyond it."""
    x = tf.reshape(tf.constant([0.0, -0.0, 2.0, -10.0, 1.0, -1.0], dtype), [1, 6, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = filtered_lrelu(x, None, None, gain=1.0, slope=0.25, clamp=2.0, impl=impl)
    assert tape.gradient(y, x).numpy().ravel().tolist() == [1, 1, 0, 0, 1, 0.25]


@pytest.mark.parametrize("impl", BACKENDS)
def test_clamp_bounds_an_overflow(impl: str) -> None:
    x = np.where(np.arange(90).reshape(1, 6, 5, 3) == 46, np.inf, 0.0)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x, tf.float16)
        tape.watch(inputs)
        y = filtered_lrelu(inputs, impl=impl, **CASES["up 2, down 2"])
    assert np.all(np.isfinite(y)) and np.max(np.abs(y)) > 100
    assert np.all(np.isfinite(tape.gradient(y, inputs)))


@pytest.mark.parametrize("impl", BACKENDS)
def test_factors_of_each_axis(impl: str) -> None:
    x = tf.constant(images(1))
    y = filtered_lrelu(x, None, None, up=(2, 1), down=(1, 3), gain=1.0, clamp=0.5, impl=impl)
    up = upfirdn2d(x, None, up=(2, 1), gain=2.0, impl="matmul")
    z = tf.clip_by_value(tf.maximum(up, 0.2 * up), -0.5, 0.5)
    np.testing.assert_allclose(y, upfirdn2d(z, None, down=(1, 3), impl="matmul"), rtol=0, atol=1e-12)


@pytest.mark.native
def test_large_factors() -> None:
    """Working memory of the native kernels would grow with the square of the factor."""
    x = tf.constant(images(1, (1, 4, 4, 1)))
    for factors in ({"down": 100_000}, {"up": 20}):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = upfirdn2d(x, None, impl="native", **factors)
        assert y[0, 0, 0, 0] == x[0, 0, 0, 0] and tape.gradient(y, x)[0, 0, 0, 0] == 1
    y = filtered_lrelu(x, None, None, down=100_000, gain=1.0, slope=1.0, impl="native")
    assert y.numpy().tolist() == [[[[x[0, 0, 0, 0]]]]]


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
def test_bias_gradients_of_many_pixels_are_summed_in_float32(impl: str, dtype: tf.DType) -> None:
    """16-bit sums stop growing at 256 and 2048."""
    x, bias = tf.ones([1, 128, 128, 2], dtype), tf.zeros([2], dtype)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y = filtered_lrelu(x, None, None, bias, gain=1.0, impl=impl)
        total = tf.reduce_sum(tf.cast(y, tf.float32))
    np.testing.assert_array_equal(tf.cast(tape.gradient(total, bias), tf.float32), [16384, 16384])


@pytest.mark.parametrize("impl", BACKENDS)
@pytest.mark.parametrize("context", contexts.CONTEXTS)
def test_contexts(context: str, impl: str, tmp_path: Path) -> None:
    options = CASES["short"]
    x, bias = images(1), images(3, SHAPE[3:])
    y_shape = nhwc(Expected(options, nchw(x), bias).value).shape

    def function(x: tf.Tensor, impl: str = impl) -> tuple[tf.Tensor, ...]:
        # The same cotangent for every image of however many there are.
        gy, v = (tf.ones_like(x[:, :1, :1, :1]) * tf.cast(images(2, shape)[:1], x.dtype) for shape in (y_shape, SHAPE))
        return tuple(results(x, tf.cast(bias, x.dtype), gy, v, impl=impl, **options))

    for count in (2, 0):  # an empty batch is a batch
        ours = contexts.run(context, function, np.float32(x[:count]), tmp_path / str(count))
        for actual, exact in zip(ours, function(tf.constant(x[:count]), "matmul"), strict=True):
            assert actual.dtype == np.float32
            np.testing.assert_allclose(actual, exact, rtol=0, atol=2e-5)


def test_left_out_arguments() -> None:
    x = tf.constant(images(1))
    call = functools.partial(filtered_lrelu, x, UP, DOWN, up=2, down=2, pad=(9, 10, 9, 10), impl="matmul")
    np.testing.assert_array_equal(call(), call(tf.zeros([3], tf.float64)))
    np.testing.assert_array_equal(call(), call(gain=math.sqrt(2), slope=0.2, clamp=math.inf))
    bias = np.arange(3.0)
    np.testing.assert_array_equal(filtered_lrelu(x, None, None, bias, gain=1.0, slope=1.0), x + bias)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slope": 1.5}, "slope=1.5: give a number from 0 to 1"),
        ({"slope": -0.1}, "slope=-0.1: give"),
        ({"gain": 0.0}, "gain=0.0: give a positive number"),
        ({"clamp": 0.0}, "clamp=0.0: give a positive number, or None"),
        ({"bias": np.zeros(4)}, r"bias of shape \(4,\): give \[3\]"),
        ({"bias": np.zeros([1, 3])}, r"bias of shape \(1, 3\): give \[3\]"),
        ({"up": 0}, "up=0: give a positive integer"),
        ({"up": (2, 2, 2)}, r"up=\(2, 2, 2\): give a positive integer or a pair"),
        ({"down": 2.5}, "down=2.5: give a positive integer"),
        ({"pad": (0, 0)}, r"pad=\(0, 0\): give four"),
        ({"up_taps": []}, r"taps of shape \(0,\): give"),
        ({"down_taps": np.ones([3, 3, 3])}, r"taps of shape \(3, 3, 3\): give"),
        ({"up_taps": np.ones(20)}, "smaller than its filter .*: increase pad"),
        ({"down_taps": np.ones(20)}, "smaller than its filter .*: increase pad"),
        ({"impl": "cuda"}, "impl='cuda': use"),
        ({"x": np.ones([6, 5, 3])}, r"x of shape \(6, 5, 3\): give"),
        ({"x": np.ones(SHAPE, np.int32)}, "x of type int32: cast it"),
    ],
)
def test_errors_name_argument_value_and_remedy(changed: dict[str, Any], message: str) -> None:
    arguments = {"x": images(1), "up_taps": np.ones(3), "down_taps": np.ones(3), **changed}
    with pytest.raises(ValueError, match=message):
        filtered_lrelu(**arguments)


@pytest.mark.parametrize("impl", ["matmul", pytest.param("native", marks=pytest.mark.native)])
@pytest.mark.parametrize("dtype", [np.float32, tf.bfloat16.as_numpy_dtype])
def test_gradients_where_static_shapes_are_lost(impl: str, dtype: type) -> None:
    def operation(x: tf.Tensor) -> tf.Tensor:
        y = filtered_lrelu(x, bias=tf.ones([3], x.dtype), impl=impl, **CASES["up 2, down 2"])
        return scale_channels(y, tf.fill([tf.shape(y)[0], 3], 2.0), impl)

    in_graph, eager = gradients_of_a_slice(operation, images(0).astype(dtype))
    for ours, expected in zip(in_graph, eager, strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert np.any(expected != 0)
