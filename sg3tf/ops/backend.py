"""Which implementation the operations use: an argument, else the innermost `using`, else the variable SG3TF_OPS."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from sg3tf.ops import native

#: "native": the kernels of custom_ops, where their library is built: the fastest everywhere.
#: "xla": stock operations compiled by XLA, seconds per geometry at first: the next best for training.
#: "matmul": stock operations and no compiler: an image at once, and graphs that a server without XLA can run.
IMPLEMENTATIONS = ("native", "xla", "matmul")
VARIABLE = "SG3TF_OPS"

# Process-wide rather than a context variable: MirroredStrategy traces replicas in threads of its own.
_chosen: str | None = None


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Within this scope, in all threads, operations without an explicit `impl` use `name`.

    Args:
        name: "native", "xla", "matmul", or "auto": native where its library is built, else matmul.

    What a tf.function was traced with stays in it.

    Raises:
        ValueError: unknown name.
        RuntimeError: "native" without its library.
    """
    global _chosen
    _check(name, "name")
    if name == "native":
        native.require()
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def training_backend() -> str:
    """What a trainer should be `using`: SG3TF_OPS where it is set, else native, else XLA, which pays for long runs."""
    name = _of_environment()
    return name if name != "auto" else "native" if native.available() else "xla"


def select_backend(impl: str | None) -> str:
    """The implementation that `impl` (None and "auto" leave the choice to the scope) stands for, here and now.

    Raises:
        ValueError: unknown.
        RuntimeError: "native" without its library, or a library for another TensorFlow.
    """
    name = impl or "auto"
    _check(name, "impl")
    if name == "auto":
        name = _chosen or _of_environment()
    if name == "native":
        native.require()
    if name == "auto":
        name = "native" if native.available() else "matmul"
    if name != "xla" and compiling() and not (name == "native" and native.available_under_xla()):
        return "xla"
    return name


def compiling() -> bool:
    """Whether the graph being traced is one that XLA will compile."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def _of_environment() -> str:
    name = os.environ.get(VARIABLE) or "auto"
    _check(name, VARIABLE)
    return name


def _check(name: str, argument: str) -> None:
    if name != "auto" and name not in IMPLEMENTATIONS:
        raise ValueError(f"{argument}={name!r}: use 'auto', {', '.join(map(repr, IMPLEMENTATIONS))}")
