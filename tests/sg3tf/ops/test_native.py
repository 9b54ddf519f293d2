"""Native operations in TensorFlow: masks, errors, gradients, loops, batches and replicas."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.models.filters import low_pass
from sg3tf.ops import filtered_lrelu, native, upfirdn2d
from sg3tf.ops.native import decode, encode
from tests.helpers import native_worker
from tests.helpers.numerics import Array, relative_error

pytestmark = pytest.mark.native

ROOT = Path(__file__).parents[3]
UP, DOWN = low_pass(12, 4, 12, 32), low_pass(12, 5, 11, 32)
GEOMETRY = {"up": 2, "down": 2, "pad": (9, 10, 9, 10), "clamp": 0.8}
CHANNELS = 18  # two words of the mask, the second not full


def images(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape or (2, 7, 6, CHANNELS)).astype(np.float32)


def lrelu(x: tf.Tensor, bias: tf.Tensor | None = None, impl: str = "native") -> tf.Tensor:
    return filtered_lrelu(x, UP, DOWN, bias, **GEOMETRY, impl=impl)


def upfirdn(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    return upfirdn2d(x, UP, up=2, down=3, pad=(3, 9, 4, 6), impl=impl)


BOTH = pytest.mark.parametrize("operation", [upfirdn, lrelu])

# --- The mask ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the masks that eager operations write from now on."""
    seen: list[tuple[int, ...]] = []
    operations = native.operations()

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(operations, name)

        def sg3_filtered_lrelu(self, *args: Any, **kwargs: Any) -> Any:
            results = operations.sg3_filtered_lrelu(*args, **kwargs)
            seen.append(tuple(results.mask.shape))
            return results

    monkeypatch.setattr(native, "operations", Spy)
    return seen


NO_MASK, MASK = (0, 0, 0, 0), (2, 2, 22, 20)


def test_mask_without_a_tape(masks: list[tuple[int, ...]]) -> None:
    lrelu(tf.constant(images(1)))
    assert masks == [NO_MASK]


def test_mask_under_a_tape(masks: list[tuple[int, ...]]) -> None:
    x, bias = tf.constant(images(1)), tf.Variable(images(2, CHANNELS))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        lrelu(x, bias)
        tape.watch(x)
        with tape.stop_recording():
            lrelu(x)
        lrelu(tf.constant(images(2)))
    assert masks == [NO_MASK] * 3
    with tf.GradientTape() as tape:
        lrelu(x, bias)
        tape.watch(x)
        lrelu(x)
    assert masks[3:] == [MASK] * 2


def test_mask_in_a_graph() -> None:
    """The attribute is set there, and the kernel writes the mask only if something reads it."""
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, images(1).shape)
        y = lrelu(x)
        (gradient,) = tf.gradients(y, x)
        written = {name: mask_in_session(result, x) for name, result in (("y", y), ("gradient", gradient))}
    assert written == {"y": [], "gradient": [MASK]}


def mask_in_session(result: tf.Tensor, x: tf.Tensor) -> list[tuple[int, ...]]:
    """Shapes of the masks with elements, from the metadata of a run."""
    metadata = tf.compat.v1.RunMetadata()
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    with tf.compat.v1.Session() as session:
        session.run(result, {x: images(1)}, options, metadata)
    nodes = [n for device in metadata.step_stats.dev_stats for n in device.node_stats if "FilteredLrelu" in n.node_name]
    forward = [n for n in nodes if "Masked" not in n.node_name and n.output]
    assert len(forward) == 1
    shapes = [tuple(d.size for d in o.tensor_description.shape.dim) for o in forward[0].output if o.slot == 1]
    return [shape for shape in shapes if math.prod(shape)]


# --- Errors -----------------------------------------------------------------------------------------------------------

UPFIRDN = {
    "up": [2, 1],
    "down": [1, 1],
    "pad": [1, 1, 1, 1],
    "terms": 1,
    "taps_y": encode([1, 2]),
    "taps_x": encode([1]),
}
STAGES = {
    "up": [2, 2],
    "up_terms": 1,
    "up_pad": [2, 1, 2, 1],
    "up_taps_y": encode([1, 2, 1]),
    "up_taps_x": encode([1, 2, 1]),
    "down": [2, 2],
    "down_terms": 1,
    "down_taps_y": encode([1, 1]),
    "down_taps_x": encode([1, 1]),
    "activation": encode([0.2, math.inf]),
}


X, BIAS, RAW_MASK = images(1, 1, 4, 4, 3), images(2, 3), np.zeros([1, 1, 9, 9], np.uint32)


def raw_upfirdn2d(x: Any = X, **changed: Any) -> Any:
    return native.operations().sg3_upfirdn2d(x, **{**UPFIRDN, **changed})


def raw_lrelu(x: Any = X, bias: Any = BIAS, **changed: Any) -> Any:
    return native.operations().sg3_filtered_lrelu(x, bias, **{**STAGES, "write_mask": True, **changed})


def raw_masked(v: Any = X, mask: Any = RAW_MASK, **changed: Any) -> Any:
    return native.operations().sg3_filtered_lrelu_masked(v, mask, **{**STAGES, "down_pad": [0, 0, 0, 0], **changed})


ATTRIBUTE_ERRORS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (raw_upfirdn2d, {"up": [0, 1]}, r"up=\[0, 1\]: give two positive integers, \(y, x\)"),
    (raw_upfirdn2d, {"up": [2]}, r"up=\[2\]: give two positive integers"),
    (raw_upfirdn2d, {"up": []}, r"up=\[\]: give two positive integers"),
    (raw_upfirdn2d, {"down": [1, -3]}, r"down=\[1, -3\]: give two positive integers"),
    (raw_upfirdn2d, {"pad": [1, 2, 3]}, r"pad=\[1, 2, 3\]: give four integers, \(top, bottom, left, right\)"),
    (raw_upfirdn2d, {"terms": 0}, "terms=0: give a positive integer"),
    (raw_upfirdn2d, {"terms": -2}, "terms=-2: give a positive integer"),
    (raw_upfirdn2d, {"terms": 3}, "taps_y has 2 numbers: give as many for each of the 3 terms, at least one"),
    (raw_upfirdn2d, {"taps_y": b"1234567"}, "taps_y has 7 bytes: give the bytes of float64 numbers, eight each"),
    (raw_upfirdn2d, {"taps_x": b""}, "taps_x has 0 numbers: give as many"),
    (
        raw_upfirdn2d,
        {"pad": [-9, 1, 1, 1]},
        r"height 4 and width 4, .* padded by \(-9, 1, 1, 1\), is smaller than its f",
    ),
    (
        raw_upfirdn2d,
        {"taps_x": encode(np.ones(7))},
        "smaller than its filter, 2 by 7: pad more, or use a shorter filter",
    ),
    (raw_lrelu, {"up": [0, 1]}, r"up=\[0, 1\]: give two"),
    (raw_lrelu, {"down": [1, 1, 1]}, r"down=\[1, 1, 1\]: give two"),
    (raw_lrelu, {"up_pad": [1, 2, 3]}, r"up_pad=\[1, 2, 3\]: give four"),
    (raw_lrelu, {"up_terms": 0}, "up_terms=0: give a positive"),
    (raw_lrelu, {"down_terms": 0}, "down_terms=0: give a positive"),
    (raw_lrelu, {"down_taps_x": b"123"}, "down_taps_x has 3 bytes: give"),
    (raw_lrelu, {"activation": b"123"}, "activation has 3 bytes: give"),
    (raw_lrelu, {"activation": encode([0.2])}, r"activation=\[0.2\]: give a slope from 0 to 1 and a positive clamp"),
    (raw_lrelu, {"activation": encode([1.5, 1])}, r"activation=\[1.5, 1\]: give a slope from 0 to 1"),
    (raw_lrelu, {"activation": encode([-0.5, 1])}, r"activation=\[-0.5, 1\]: give"),
    (raw_lrelu, {"activation": encode([math.nan, 1])}, r"activation=\[nan, 1\]: give"),
    (raw_lrelu, {"activation": encode([0.2, 0])}, r"activation=\[0.2, 0\]: give .* positive clamp"),
    (raw_lrelu, {"up_pad": [-9, 0, 0, 0]}, "smaller than its filter, 3 by 3: pad more"),
    (raw_lrelu, {"down_taps_y": encode(np.ones(12))}, "height 9 and width 9, .* smaller than its filter, 12 by 2"),
    (raw_masked, {"down_pad": [0]}, r"down_pad=\[0\]: give four"),
    (raw_masked, {"down_pad": [0, 0, 0, -9]}, "height 9 and width 9, .* smaller than its filter, 2 by 2"),
]
INPUT_ERRORS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (raw_upfirdn2d, {"x": images(1, 4, 4, 3)}, r"x of shape \[4,4,3\]: give \[N, H, W, C\]"),
    (raw_lrelu, {"x": images(1, 4, 4, 3)}, r"x of shape \[4,4,3\]: give \[N, H, W, C\]"),
    (raw_lrelu, {"bias": images(1, 4)}, r"bias of shape \[4\]: give \[3\], one number per channel of x"),
    (raw_lrelu, {"bias": images(1, 1, 3)}, r"bias of shape \[1,3\]: give \[3\]"),
    (raw_masked, {"v": images(1, 4, 3)}, r"v of shape \[4,3\]: give \[N, H, W, C\]"),
    (
        raw_masked,
        {"mask": np.zeros(NO_MASK, np.uint32)},
        r"mask of shape \[0,0,0,0\]: give that of the forward pass, \[1,1,",
    ),
    (raw_masked, {"mask": np.zeros([1, 1, 9, 8], np.uint32)}, r"mask of shape \[1,1,9,8\]: give .*, \[1,1,9,9\]"),
]


@pytest.mark.parametrize("raw", [raw_upfirdn2d, raw_lrelu, raw_masked])
def test_raw_operations(raw: Callable[..., Any]) -> None:
    """The calls that the errors below are variations of."""
    raw()
    tf.function(lambda: raw())()


@pytest.mark.parametrize(("raw", "changed", "message"), ATTRIBUTE_ERRORS + INPUT_ERRORS)
def test_errors_name_argument_value_and_remedy(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        raw(**changed)


@pytest.mark.parametrize(("raw", "changed", "message"), ATTRIBUTE_ERRORS)
def test_errors_while_a_graph_is_built(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tf.function(lambda: raw(**changed)).get_concrete_function()


@pytest.mark.parametrize(("raw", "changed", "message"), INPUT_ERRORS)
def test_errors_of_inputs_while_a_graph_runs(raw: Callable[..., Any], changed: dict[str, Any], message: str) -> None:
    ((name, value),) = changed.items()
    function = tf.function(lambda value: raw(**{name: value}), input_signature=[tf.TensorSpec(None, value.dtype)])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(value)


@pytest.mark.parametrize(
    ("raw", "changed"),
    [
        (raw_upfirdn2d, {"x": images(1, 4, 4, 3)}),
        (raw_lrelu, {"bias": images(1, 4)}),
        (raw_masked, {"mask": np.zeros([9, 9], np.uint32)}),
    ],
)
def test_wrong_shapes_while_a_graph_is_built(raw: Callable[..., Any], changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hape|imension"):
        tf.function(lambda: raw(**changed)).get_concrete_function()


def test_unknown_shapes() -> None:
    """Height and width need not be known to the operations themselves."""
    function = tf.function(lambda x: raw_upfirdn2d(x)).get_concrete_function(tf.TensorSpec(None))
    assert function.output_shapes.as_list() == [None] * 4
    x = images(1, 2, 5, 3, 4)
    np.testing.assert_array_equal(function(tf.constant(x)), raw_upfirdn2d(x))
    lrelu_shapes = (
        tf.function(lambda x: raw_lrelu(x)).get_concrete_function(tf.TensorSpec([None, 4, 4, 3])).output_shapes
    )
    assert lrelu_shapes.y.as_list() == [None, 4, 4, 3] and lrelu_shapes.mask.as_list() == [None, 1, 9, 9]


def test_numbers_in_attributes_are_exact() -> None:
    numbers = [0.1, -1 / 3, math.inf, 5e-324]
    assert decode(encode(numbers)).tolist() == numbers


# --- Gradients --------------------------------------------------------------------------------------------------------


def gradients(function: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> list[tf.Tensor]:
    """Gradients of sum(function ** 2), and of the sum of squares of those."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            y = tf.reduce_sum(function(*inputs) ** 2)
        first = inner.gradient(y, inputs)
        total = tf.add_n([tf.reduce_sum(g**2) for g in first])
    return [*first, *outer.gradient(total, inputs)]


def same_gradients(wrap: Callable[..., Any], operation: Callable[..., tf.Tensor], *inputs: Any) -> None:
    """Native gradients, wrapped, are those of plain stock operations."""
    inputs = tuple(map(tf.constant, inputs))
    ours = wrap(lambda *i: gradients(lambda *i: operation(*i, impl="native"), *i))(*inputs)
    exact = gradients(lambda *i: operation(*i, impl="matmul"), *(tf.cast(i, tf.float64) for i in inputs))
    for a, b in zip(ours, exact, strict=True):
        assert relative_error(a, b) < 2e-6


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@pytest.mark.parametrize("wrap", [as_it_is, tf.function])
def test_nested_tapes(wrap: Callable[..., Any]) -> None:
    same_gradients(wrap, upfirdn, images(1))
    same_gradients(wrap, lrelu, images(1), images(2, CHANNELS))


def same_gradient(wrap: Callable[..., Any], operation: Callable[[tf.Tensor, str], tf.Tensor]) -> None:
    """The gradient of the sum of operation(x, impl) ** 2 is the same for both backends."""

    def gradient(impl: str) -> tf.Tensor:
        def function(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.reduce_sum(operation(x, impl) ** 2)
            return tape.gradient(y, x)

        return wrap(function)(tf.constant(images(1)))

    assert relative_error(gradient("native"), gradient("matmul")) < 2e-6


@BOTH
@pytest.mark.parametrize("wrap", [as_it_is, tf.function])
def test_recomputed(operation: Callable[..., tf.Tensor], wrap: Callable[..., Any]) -> None:
    same_gradient(wrap, lambda x, impl: tf.recompute_grad(lambda x: operation(x, impl=impl))(x))


def test_within_a_loop() -> None:
    """A loop in a graph keeps the masks of all iterations."""

    def once(x: tf.Tensor, impl: str) -> tf.Tensor:
        return filtered_lrelu(x, UP, DOWN, **(GEOMETRY | {"pad": (11, 10, 11, 10)}), impl=impl)

    def three_times(x: tf.Tensor, impl: str) -> tf.Tensor:
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, once(x, impl)), (0, x))[1]

    same_gradient(tf.function, three_times)


@BOTH
def test_jacobian(operation: Callable[..., tf.Tensor]) -> None:
    x = tf.constant(images(1, 2, 3, 2, 2))

    def jacobian(impl: str) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reshape(operation(x, impl=impl), [2, -1])[:, :5]
        return tape.batch_jacobian(y, x)

    assert relative_error(jacobian("native"), jacobian("matmul")) < 2e-6


@BOTH
def test_forward_mode(operation: Callable[..., tf.Tensor]) -> None:
    x, v = tf.constant(images(1)), tf.constant(images(2))

    def tangent(impl: str) -> tf.Tensor:
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
            y = operation(x, impl=impl)
        return accumulator.jvp(y)

    assert relative_error(tangent("native"), tangent("matmul")) < 2e-6


# --- Batches, devices, threads ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_an_image_is_the_same_in_any_batch(operation: Callable[..., tf.Tensor], dtype: tf.DType) -> None:
    batch = tf.cast(images(1, 3, 19, 17, CHANNELS), dtype)
    whole = native_worker.value_and_gradient(operation, batch)
    for i in range(3):
        alone = native_worker.value_and_gradient(operation, batch[i : i + 1])
        for a, b in zip(alone, whole, strict=True):
            np.testing.assert_array_equal(a[0], b[i])


@BOTH
@pytest.mark.parametrize("shape", [(0, 5, 5, 3), (2, 5, 5, 0)])
def test_nothing_at_all(operation: Callable[..., tf.Tensor], shape: tuple[int, ...]) -> None:
    x = tf.zeros(shape)
    for wrap in (as_it_is, tf.function):
        value, gradient = wrap(lambda x: native_worker.value_and_gradient(operation, x))(x)
        assert value.shape[0] == shape[0] and gradient.shape == shape


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """Results of tests.helpers.native_worker on three threads, probably not as many as here."""
    out = tmp_path_factory.mktemp("process") / "arrays.npz"
    command = [sys.executable, "-m", "tests.helpers.native_worker", str(out), "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as arrays:
        return dict(arrays)


def test_any_number_of_threads(elsewhere: dict[str, Array]) -> None:
    for name, value in native_worker.values_and_gradients().items():
        np.testing.assert_array_equal(elsewhere[name], value)


def test_mirrored_strategy(elsewhere: dict[str, Array]) -> None:
    """Two replicas with half of the batch each give the result of one."""
    assert elsewhere["replicas/count"] == 2
    for name in ("loss", "kernel", "bias"):
        assert relative_error(elsewhere[f"replicas/{name}"], elsewhere[f"one/{name}"]) < 1e-6
