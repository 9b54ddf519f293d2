"""Backend of the operations: the `impl` argument, the innermost `use_backend`, or SG3TF_OPS, in this order."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import tensorflow as tf

from sg3tf.ops import native
from sg3tf.ops._tf_private import in_xla_context

#: "native": kernels of custom_ops, if their library is built; always the fastest.
#: "xla": stock operations compiled by XLA, which takes seconds per geometry; the next best for training.
#: "matmul": stock operations without compilation; no delay before the first image, and graphs for servers without XLA.
BACKENDS = ("native", "xla", "matmul")
VARIABLE = "SG3TF_OPS"
MAX_NATIVE_FACTOR = 16

# Process-wide rather than a context variable, because MirroredStrategy traces replicas in its own threads.
_scopes: list[list[str]] = []
_lock = threading.Lock()


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Select the backend for operations without an explicit `impl`, in all threads, within a `with` block.

    Functions traced in the block keep the backend afterward.

    Args:
        name: "native", "xla", "matmul", or "auto": native if its library is built, otherwise matmul.

    Raises:
        ValueError: unknown name.
        ExpectedError: "native" without a usable library.

    Examples:
        >>> import tensorflow as tf
        >>> from sg3tf.ops import upfirdn2d, use_backend
        >>> with use_backend("matmul"):
        ...     y = upfirdn2d(tf.ones([1, 4, 4, 3]), [0.5, 0.5], down=2)
        >>> y.shape
        TensorShape([1, 2, 2, 3])
    """
    _check(name, "name")
    if name == "native":
        native.require()
    scope = [name]
    with _lock:
        _scopes.append(scope)
    try:
        yield
    finally:
        with _lock:  # blocks of other threads may have begun within this one, and last longer
            _scopes[:] = [other for other in _scopes if other is not scope]


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Turn off TensorFloat-32, whose 10-bit mantissa is too short for differences of 1e-4."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def training_backend() -> str:
    """Return the backend for a training run: SG3TF_OPS if set, otherwise native if available, otherwise xla."""
    name = _from_environment()
    if name != "auto":
        return name
    return "native" if native.available() else "xla"


def select_backend(impl: str | None, factor: int = 1, dtype: tf.DType = tf.float32) -> str:
    """Return the backend for one call in the current context.

    Args:
        impl: the operation's argument; None and "auto" defer to `use_backend` and SG3TF_OPS.
        factor: the largest sampling rate factor. Beyond MAX_NATIVE_FACTOR, stock operations take the place of native
            ones, whose working memory grows with its square.
        dtype: of the images. Likewise, GPUs have no native kernel for float64 under XLA.

    Raises:
        ValueError: unknown name.
        ExpectedError: "native" without a usable library.
    """
    name = impl or "auto"
    _check(name, "impl")
    if name == "auto":
        with _lock:
            name = _scopes[-1][0] if _scopes else _from_environment()
    if name == "native":
        native.require()
    if name == "auto":
        name = "native" if native.available() else "matmul"
    if in_xla_context():
        has_kernel = dtype != tf.float64 or not tf.config.get_visible_devices("GPU")
        is_native = name == "native" and factor <= MAX_NATIVE_FACTOR and has_kernel and native.available_under_xla()
        return "native" if is_native else "xla"
    return "matmul" if name == "native" and factor > MAX_NATIVE_FACTOR else name


def selects_cpu_kernel(impl: str | None) -> bool:
    """Return True if an operation with CPU-only native kernels uses them: not under XLA, and not if a GPU is visible.

    Args:
        impl: the operation's argument.

    Raises:
        ValueError: unknown name.
        ExpectedError: "native" without a usable library.
    """
    return select_backend(impl) == "native" and not in_xla_context() and not tf.config.get_visible_devices("GPU")


def _from_environment() -> str:
    name = os.environ.get(VARIABLE) or "auto"
    _check(name, VARIABLE)
    return name


def _check(name: str, argument: str) -> None:
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"{argument}={name!r}: use 'auto', {', '.join(map(repr, BACKENDS))}")
