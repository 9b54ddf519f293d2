"""The backend of the operations: an argument, else the innermost `use_backend`, else the variable SG3TF_OPS."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from sg3tf.ops import native
from sg3tf.ops._tf_private import in_xla_context

#: "native": the kernels of custom_ops, where their library is built; the fastest everywhere.
#: "xla": stock operations that XLA compiles, for seconds per geometry; the next best for training.
#: "matmul": stock operations without a compiler; the first image at once, and graphs for servers without XLA.
BACKENDS = ("native", "xla", "matmul")
VARIABLE = "SG3TF_OPS"

# Process-wide rather than a context variable: MirroredStrategy traces replicas in threads of its own.
_scope: str | None = None


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Select the backend of operations without an explicit `impl`, within a `with` block and in all threads.

    Functions that are traced in the block keep the backend afterwards.

    Args:
        name: "native", "xla", "matmul", or "auto": native where its library is built, else matmul.

    Raises:
        ValueError: unknown name.
        RuntimeError: "native" without a usable library.

    Examples:
        >>> import tensorflow as tf
        >>> from sg3tf.ops import upfirdn2d, use_backend
        >>> with use_backend("matmul"):
        ...     y = upfirdn2d(tf.ones([1, 4, 4, 3]), [0.5, 0.5], down=2)
        >>> y.shape
        TensorShape([1, 2, 2, 3])
    """
    global _scope
    _check(name, "name")
    if name == "native":
        native.require()
    before, _scope = _scope, name
    try:
        yield
    finally:
        _scope = before


def training_backend() -> str:
    """Return the backend for a training run: SG3TF_OPS if set, else native, else xla, whose compilation pays there."""
    name = _from_environment()
    if name != "auto":
        return name
    return "native" if native.available() else "xla"


def select_backend(impl: str | None) -> str:
    """Return the backend for one call, here and now.

    Args:
        impl: the argument of the operation; None and "auto" leave the choice to the scope.

    Raises:
        ValueError: unknown name.
        RuntimeError: "native" without a usable library.
    """
    name = impl or "auto"
    _check(name, "impl")
    if name == "auto":
        name = _scope or _from_environment()
    if name == "native":
        native.require()
    if name == "auto":
        name = "native" if native.available() else "matmul"
    if not in_xla_context() or (name == "native" and native.available_under_xla()):
        return name
    return "xla"


def selects_cpu_kernel(impl: str | None) -> bool:
    """Return True where operations with native kernels on CPUs alone use them: not where XLA compiles, nor on a GPU.

    Args:
        impl: the argument of the operation.

    Raises:
        ValueError: unknown name.
        RuntimeError: "native" without a usable library.
    """
    return select_backend(impl) == "native" and not in_xla_context() and not tf.config.get_visible_devices("GPU")


def _from_environment() -> str:
    name = os.environ.get(VARIABLE) or "auto"
    _check(name, VARIABLE)
    return name


def _check(name: str, argument: str) -> None:
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"{argument}={name!r}: use 'auto', {', '.join(map(repr, BACKENDS))}")
