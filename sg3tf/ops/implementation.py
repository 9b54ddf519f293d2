"""Which implementation the operations use: an argument, else the innermost scope, else the default."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

#: "xla": stock operations, compiled by XLA, the fastest without native code.
#: "matmul": stock operations and no compiler, for graphs that a server without XLA shall run.
IMPLEMENTATIONS = ("xla", "matmul")

_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("sg3tf_implementation", default="xla")


@contextlib.contextmanager
def implementation(name: str) -> Iterator[None]:
    """Within this scope, operations without an explicit `impl` use `name` ("xla" or "matmul").

    Raises:
        ValueError: unknown name.
    """
    token = _chosen.set(resolve(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def resolve(impl: str | None) -> str:
    """The implementation that `impl` (None and "auto" leave the choice to the scope) stands for."""
    if impl is None or impl == "auto":
        return _chosen.get()
    if impl == "native":
        raise ValueError("impl='native': this build has no native operations: use 'auto', 'xla' or 'matmul'")
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r}: use None, 'auto', 'native', {', '.join(map(repr, IMPLEMENTATIONS))}")
    return impl
