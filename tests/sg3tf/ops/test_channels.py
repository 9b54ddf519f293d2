"""scale_channels and sum_pixels against their definitions, in every type, context and order of gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from sg3tf.ops import native, scale_channels, sum_pixels, use_backend
from tests.helpers import contexts
from tests.helpers.backends import BACKENDS
from tests.helpers.numerics import Array, Rounding

WITH_BACKENDS = pytest.mark.parametrize("impl", BACKENDS)
TYPES = pytest.mark.parametrize(
    "dtype", [tf.float32, tf.float64, tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name
)
CHANNELS = pytest.mark.parametrize("channels", [1, 3, 16, 37, 65])
HEIGHT, WIDTH = 9, 7


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(0.5, 1, size=shape)


def images(seed: int, batch: int = 2, channels: int = 3) -> Array:
    return numbers(seed, batch, HEIGHT, WIDTH, channels)


def wide(dtype: tf.DType) -> tf.DType:
    return tf.float64 if dtype == tf.float64 else tf.float32


def exact(x: tf.Tensor) -> Array:
    return np.asarray(x).astype(np.float64)


def per_pixel(factors: Array) -> Array:
    return factors[:, None, None, :]


def check_images(actual: tf.Tensor, dtype: tf.DType, expected: Array, magnitude: Array, roundings: int) -> None:
    """Compare images that were rounded to their type this many times."""
    assert actual.dtype == dtype
    doubtful = (roundings - 1) * float(ml_dtypes.finfo(dtype.as_numpy_dtype).eps) / 2 * magnitude
    Rounding(dtype.as_numpy_dtype, roundings).check(actual, expected, magnitude, doubtful)


def check_sums(actual: tf.Tensor, dtype: tf.DType, terms: Array) -> None:
    """Compare with the sums of terms [N, H, W, C], none of which was rounded to 16 bits."""
    assert actual.dtype == wide(dtype)
    close = Rounding(wide(dtype).as_numpy_dtype, HEIGHT * WIDTH + 1)
    close.check(actual, terms.sum((1, 2)), np.abs(terms).sum((1, 2)))


# --- Values and gradients ---------------------------------------------------------------------------------------------


@WITH_BACKENDS
@TYPES
@CHANNELS
def test_scale_channels(channels: int, dtype: tf.DType, impl: str) -> None:
    """The value; its gradients; and theirs, which a closed form has, as all is linear in each operand."""
    x, gy, vx = (tf.cast(images(seed, channels=channels), dtype) for seed in (1, 2, 3))
    factors, vf = (tf.cast(numbers(seed, 2, channels), wide(dtype)) for seed in (4, 5))
    with tf.GradientTape() as outer:
        outer.watch([x, factors, gy])
        with tf.GradientTape() as inner:
            inner.watch([x, factors])
            y = scale_channels(x, factors, impl=impl)
        dx, df = inner.gradient(y, [x, factors], gy)
    ddx, ddf, dgy = outer.gradient([dx, df], [x, factors, gy], [vx, vf])

    once = 1 if impl == "native" else 2  # stock operations round factors, too
    ex, egy, evx, ef, evf = map(exact, (x, gy, vx, factors, vf))
    for actual, product in ((y, ex * per_pixel(ef)), (dx, egy * per_pixel(ef)), (ddx, egy * per_pixel(evf))):
        check_images(actual, dtype, product, np.abs(product), once)
    check_sums(df, dtype, ex * egy)
    check_sums(ddf, dtype, egy * evx)
    first, second = evx * per_pixel(ef), ex * per_pixel(evf)
    check_images(dgy, dtype, first + second, np.abs(first) + np.abs(second), once + 1)  # and their sum


@WITH_BACKENDS
@TYPES
@CHANNELS
def test_sum_pixels(channels: int, dtype: tf.DType, impl: str) -> None:
    x, y, vx, vy = (tf.cast(images(seed, channels=channels), dtype) for seed in (1, 2, 3, 4))
    g, h = (tf.cast(numbers(seed, 2, channels), wide(dtype)) for seed in (5, 6))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, y, g, h])
        with tf.GradientTape(persistent=True) as inner:
            inner.watch([x, y])
            sums, products = sum_pixels(x, impl=impl), sum_pixels(x, y, impl=impl)
        d_sums = inner.gradient(sums, x, h)
        dx, dy = inner.gradient(products, [x, y], g)
    ddx, ddy, dg = outer.gradient([dx, dy], [x, y, g], [vx, vy])
    dh = outer.gradient(d_sums, h, vx)

    ex, ey, evx, evy, eg, eh = map(exact, (x, y, vx, vy, g, h))
    check_sums(sums, dtype, ex)
    check_sums(products, dtype, ex * ey)
    for actual, other, factors in ((dx, ey, eg), (dy, ex, eg), (ddx, evy, eg), (ddy, evx, eg), (d_sums, 1, eh)):
        product = np.broadcast_to(other * per_pixel(factors), ex.shape)
        check_images(actual, dtype, product, np.abs(product), 1)
    check_sums_of_two(dg, dtype, evx * ey, evy * ex)
    check_sums(dh, dtype, evx)


def check_sums_of_two(actual: tf.Tensor, dtype: tf.DType, first: Array, second: Array) -> None:
    assert actual.dtype == wide(dtype)
    terms = np.concatenate([first, second], axis=1)
    close = Rounding(wide(dtype).as_numpy_dtype, 2 * HEIGHT * WIDTH + 1)
    close.check(actual, terms.sum((1, 2)), np.abs(terms).sum((1, 2)))


@WITH_BACKENDS
def test_square_of_one_batch(impl: str) -> None:
    """Both operands may be the same tensor."""
    x, g = tf.constant(images(1)), tf.constant(numbers(2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        sums = sum_pixels(x, x, impl=impl)
    np.testing.assert_allclose(sums, np.square(x).sum((1, 2)), rtol=1e-14)
    np.testing.assert_allclose(tape.gradient(sums, x, g), 2 * x * per_pixel(g), rtol=1e-14)


@WITH_BACKENDS
def test_finite_differences(impl: str) -> None:
    x, y, factors = tf.constant(images(1)[:, :3, :2]), tf.constant(images(2)[:, :3, :2]), tf.constant(numbers(3, 2, 3))

    def scaled(x: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(scale_channels(x, factors, impl=impl) ** 3)

    def summed(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(sum_pixels(x, y, impl=impl) ** 3) + tf.reduce_sum(sum_pixels(x, impl=impl) ** 3)

    for function, inputs in ((scaled, [x, factors]), (summed, [x, y])):
        for of in (function, *(gradient(function, i) for i in range(2))):
            ours, differences = tf.test.compute_gradient(of, inputs, delta=1e-4)
            for a, b in zip(ours, differences, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * max(1, np.abs(b).max()))


def gradient(function: Callable[..., tf.Tensor], index: int) -> Callable[..., tf.Tensor]:
    """The gradient of function(*inputs) with respect to one of them."""

    def of(*inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs)
        return tape.gradient(y, inputs[index])

    return of


@WITH_BACKENDS
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
def test_sums_of_16_bit_numbers_are_float32(dtype: tf.DType, impl: str) -> None:
    """2500 ones: bfloat16 has no integers between 256 and 258, and float16 none between 2048 and 2050."""
    ones, factors = tf.ones([1, 50, 50, 3], dtype), tf.ones([1, 3])
    with tf.GradientTape() as tape:
        tape.watch(factors)
        y = scale_channels(ones, factors, impl=impl)
    for sums in (sum_pixels(ones, impl=impl), sum_pixels(ones, ones, impl=impl), tape.gradient(y, factors)):
        assert sums.numpy().tolist() == [[2500, 2500, 2500]]


@WITH_BACKENDS
def test_factors_beyond_16_bits(impl: str) -> None:
    y = scale_channels(tf.constant([[[[1e-3]]]], tf.float16), [[1e5]], impl=impl)
    assert y.numpy().item() == np.float16(np.float32(np.float16(1e-3)) * 1e5)


@WITH_BACKENDS
def test_sparse_gradients(impl: str) -> None:
    x = tf.constant(images(1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.gather(sum_pixels(x, impl=impl), [1, 0])
    np.testing.assert_array_equal(tape.gradient(y, x), np.ones(x.shape))


@WITH_BACKENDS
def test_factors_of_another_type(impl: str) -> None:
    x, factors = tf.constant(images(1), tf.float32), tf.constant(numbers(2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(factors)
        y = scale_channels(x, factors, impl=impl)
    assert (y.dtype, tape.gradient(y, factors).dtype) == (tf.float32, tf.float64)
    np.testing.assert_array_equal(y, scale_channels(x, tf.cast(factors, tf.float32), impl=impl))


# --- Contexts ---------------------------------------------------------------------------------------------------------


def value_and_gradients(x: tf.Tensor, impl: str | None = None) -> tuple[tf.Tensor, ...]:
    """Values, and the gradients of both operations by all operands, all of them computed from x."""
    with tf.GradientTape(persistent=True) as tape:
        factors = x[:, 0, 1]
        tape.watch([x, factors])
        y = scale_channels(x, factors, impl=impl)
        sums = sum_pixels(x, y, impl=impl) + sum_pixels(x, impl=impl)
    return y, sums, *tape.gradient(y, [x, factors], y), tape.gradient(sums, x, sums)


@WITH_BACKENDS
@pytest.mark.parametrize("context", contexts.CONTEXTS)
def test_contexts(context: str, impl: str, tmp_path: Path) -> None:
    x = np.float32(images(1))
    expected = value_and_gradients(tf.constant(x, tf.float64), "matmul")
    for count in (2, 0):  # an empty batch is a batch
        results = contexts.run(context, lambda x: value_and_gradients(x, impl), x[:count], tmp_path / str(count))
        for ours, float64 in zip(results, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, float64[:count], rtol=0, atol=1e-5 * np.abs(float64).max())


@WITH_BACKENDS
def test_forward_mode(impl: str) -> None:
    x, factors = tf.constant(images(1)), tf.constant(numbers(2, 2, 3))
    vx, vf = tf.constant(images(3)), tf.constant(numbers(4, 2, 3))
    with tf.autodiff.ForwardAccumulator([x, factors], [vx, vf]) as accumulator:
        y = scale_channels(x, factors, impl=impl)
        sums = sum_pixels(x, y, impl=impl)
    dy = exact(vx) * per_pixel(exact(factors)) + exact(x) * per_pixel(exact(vf))
    np.testing.assert_allclose(accumulator.jvp(y), dy, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(accumulator.jvp(sums), (vx * y + x * dy).numpy().sum((1, 2)), rtol=1e-12)


def native_operations(function: Callable[..., Any], x: Array) -> set[str]:
    """The types of native operations in the graph of function(x)."""
    graph = tf.function(function).get_concrete_function(tf.constant(x)).graph
    return {op.type for op in graph.get_operations() if op.type.startswith("Sg3>")}


@pytest.mark.native
def test_native_kernels_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"Sg3>ScaleChannels", "Sg3>SumPixels"}
    assert native_operations(lambda x: value_and_gradients(x, "native"), images(1)) == both
    assert native_operations(lambda x: value_and_gradients(x, "matmul"), images(1)) == set()
    with use_backend("matmul"):
        assert native_operations(value_and_gradients, images(1)) == set()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [f"a {kind}"])
    assert native_operations(lambda x: value_and_gradients(x, "native"), images(1)) == set()


@pytest.mark.native
def test_gradients_keep_the_backend_of_the_value() -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            with use_backend("matmul"):
                y = tf.reduce_sum(scale_channels(x, x[:, 0, 0]) ** 2 + sum_pixels(x, x)[:, None, None] ** 2)
        return tape.gradient(y, x)

    assert native_operations(function, images(1)) == set()


@pytest.mark.native
@TYPES
def test_an_image_is_the_same_in_any_batch(dtype: tf.DType) -> None:
    batch = tf.cast(images(1, batch=3, channels=70), dtype)
    whole = value_and_gradients(batch, "native")
    for i in range(3):
        for alone, together in zip(value_and_gradients(batch[i : i + 1], "native"), whole, strict=True):
            np.testing.assert_array_equal(alone[0], together[i])


@WITH_BACKENDS
@pytest.mark.parametrize("shape", [(0, 5, 5, 3), (2, 5, 5, 0), (2, 0, 5, 3), (2, 5, 0, 3)])
def test_nothing_at_all(shape: tuple[int, ...], impl: str) -> None:
    """Sums over no pixels are zero."""
    x, per_channel = tf.zeros(shape), (shape[0], shape[3])
    with tf.GradientTape(persistent=True) as tape:
        factors = tf.ones(per_channel)
        tape.watch([x, factors])
        y = scale_channels(x, factors, impl=impl)
        sums = sum_pixels(x, y, impl=impl)
    results = [y, sums, *tape.gradient(y, [x, factors]), tape.gradient(sums, x)]
    assert [tuple(result.shape) for result in results] == [shape, per_channel, shape, per_channel, shape]
    assert not np.any(sums)


@pytest.mark.native
def test_operands_are_not_changed() -> None:
    """The kernel may write y over x, but not where x is read later."""
    x = tf.cast(images(1), tf.float32)
    before = x.numpy().copy()
    function = tf.function(lambda x: (scale_channels(x * 1, tf.fill([2, 3], 2.0), impl="native"), x * 1))
    twice, same = function(x)
    scale_channels(x, tf.fill([2, 3], 2.0), impl="native")
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(same, before)
    np.testing.assert_array_equal(twice, 2 * before)


# --- Errors -----------------------------------------------------------------------------------------------------------

IMAGE = np.ones([2, 9, 7, 3], np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scale_channels(IMAGE[0], np.ones([2, 3])), r"x of shape \(9, 7, 3\): give \[N, H, W, C\]"),
        (lambda: scale_channels(np.ones([2, 9, 7, 3], int), np.ones([2, 3])), "x of type int64: cast it"),
        (
            lambda: scale_channels(IMAGE, np.ones([2, 4])),
            r"factors of shape \(2, 4\): give \[N, 3\], one per image and channel of x",
        ),
        (lambda: scale_channels(IMAGE, np.ones([1, 3])), r"factors of shape \(1, 3\): give \[N, 3\]"),
        (lambda: scale_channels(IMAGE, np.ones(3)), r"factors of shape \(3,\): give \[N, 3\]"),
        (lambda: scale_channels(IMAGE, np.ones([2, 3]), impl="cuda"), "impl='cuda': use 'auto', 'native'"),
        (lambda: sum_pixels(IMAGE[0]), r"x of shape \(9, 7, 3\): give \[N, H, W, C\]"),
        (lambda: sum_pixels(IMAGE.astype(int)), "x of type int64: cast it"),
        (
            lambda: sum_pixels(IMAGE, IMAGE[:, 1:]),
            r"y of type float32 and shape \(2, 8, 7, 3\): give those of x, float32 and \(2, 9, 7, 3\)",
        ),
        (lambda: sum_pixels(IMAGE, IMAGE.astype(np.float64)), "y of type float64 .*: give those of x, float32"),
        (lambda: sum_pixels(IMAGE, impl="cuda"), "impl='cuda': use 'auto', 'native'"),
    ],
)
def test_errors_name_argument_value_and_remedy(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_size_is_refused() -> None:
    for function in (lambda x: scale_channels(x, tf.ones([1, 3])), sum_pixels):
        with pytest.raises(ValueError, match=r"x of shape \(None, 8, None, 3\): give .* known"):
            tf.function(function).get_concrete_function(tf.TensorSpec([None, 8, None, 3]))


def raw_scale(x: Any = IMAGE, factors: Any = np.ones([2, 3], np.float32)) -> tf.Tensor:  # noqa: B008
    return native.operations().sg3_scale_channels(x, factors)


def raw_sums(images: Any = (IMAGE, IMAGE), sums: tf.DType = tf.float32) -> tf.Tensor:
    return native.operations().sg3_sum_pixels(list(images), Sums=sums)


SHAPE_ERRORS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (raw_scale, {"x": IMAGE[0]}, r"x of shape \[9,7,3\]: give \[N, H, W, C\]"),
    (
        raw_scale,
        {"factors": np.ones([2, 4], np.float32)},
        r"factors of shape \[2,4\]: give \[2, 3\], one per image and channel of x",
    ),
    (raw_scale, {"factors": np.ones([1, 3], np.float32)}, r"factors of shape \[1,3\]: give \[2, 3\]"),
    (raw_scale, {"factors": np.ones([3], np.float32)}, r"factors of shape \[3\]: give \[2, 3\]"),
    (raw_sums, {"images": (IMAGE[0],)}, r"images of shape \[9,7,3\]: give \[N, H, W, C\]"),
    (
        raw_sums,
        {"images": (IMAGE, IMAGE[:1])},
        r"images of shapes \[2,9,7,3\] and \[1,9,7,3\]: give two of one shape",
    ),
]
OTHER_ERRORS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (raw_sums, {"images": (IMAGE, IMAGE, IMAGE)}, "3 images: give one or two"),
    (raw_scale, {"factors": np.ones([2, 3])}, "Factors=double with T=float: use float"),
    (raw_scale, {"x": IMAGE.astype(np.float64)}, "Factors=float with T=double: use double"),
    (raw_scale, {"x": IMAGE.astype(np.float16), "factors": np.ones([2, 3])}, "Factors=double with T=half: use float"),
    (raw_sums, {"sums": tf.float64}, "Sums=double with T=float: use float"),
    (raw_sums, {"images": (IMAGE.astype(np.float64),)}, "Sums=float with T=double: use double"),
]


@pytest.mark.native
@pytest.mark.parametrize(("raw", "changed", "message"), SHAPE_ERRORS + OTHER_ERRORS)
def test_errors_of_the_operations(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    for wrap in (lambda function: function, tf.function):
        wrap(lambda: raw())()  # the call that this is a variation of
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        raw(**changed)


@pytest.mark.native
@pytest.mark.parametrize(("raw", "changed", "message"), SHAPE_ERRORS)
def test_errors_while_a_graph_runs(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    """Shapes that are known only then."""
    ((name, value),) = changed.items()
    values = list(value) if name == "images" else [value]
    function = tf.function(
        lambda *values: raw(**{name: values if name == "images" else values[0]}),
        input_signature=[tf.TensorSpec(None, v.dtype) for v in values],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(*values)


@pytest.mark.native
@pytest.mark.parametrize(("raw", "changed", "message"), SHAPE_ERRORS)
def test_wrong_shapes_while_a_graph_is_built(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="hape|imension"):
        tf.function(lambda: raw(**changed)).get_concrete_function()


@pytest.mark.native
def test_inferred_shapes() -> None:
    """Sizes that one operand leaves open come from the other."""

    def shape(function: Callable[..., tf.Tensor], *shapes: list[int | None] | None) -> list[int | None]:
        specs = [tf.TensorSpec(shape) for shape in shapes]
        return tf.function(function).get_concrete_function(*specs).output_shapes.as_list()

    assert shape(raw_scale, [None, 9, None, None], [2, 3]) == [2, 9, None, 3]
    assert shape(raw_scale, None, [None, 3]) == [None, None, None, 3]
    assert shape(lambda x, y: raw_sums((x, y)), [None, 9, 7, 3], [2, None, 7, None]) == [2, 3]
    assert shape(lambda x: raw_sums((x,)), None) == [None, None]
