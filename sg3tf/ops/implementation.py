"""Which implementation the operations use: an argument, else what the process is set to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

#: "matmul": stock operations and no compiler: an image at once, and graphs that a server without XLA can run.
#: "xla": stock operations compiled by XLA, seconds per geometry at first, then faster: for training.
IMPLEMENTATIONS = ("matmul", "xla")

# Process-wide rather than a context variable: MirroredStrategy traces replicas in threads of its own.
_chosen = "matmul"


@contextlib.contextmanager
def implementation(name: str) -> Iterator[None]:
    """Within this scope, in all threads, operations without an explicit `impl` use `name`: "xla" or "matmul".

    What a tf.function was traced with stays in it.

    Raises:
        ValueError: unknown name.
    """
    global _chosen
    before, _chosen = _chosen, resolve(name)
    try:
        yield
    finally:
        _chosen = before


def resolve(impl: str | None) -> str:
    """The implementation that `impl` (None and "auto" leave the choice to the scope) stands for.

    Raises:
        ValueError: unknown, or not in this build.
    """
    if impl is None or impl == "auto":
        return _chosen
    if impl == "native":
        raise ValueError("impl='native': this build has no native operations: use 'auto', 'xla' or 'matmul'")
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r}: use None, 'auto', 'native', {', '.join(map(repr, IMPLEMENTATIONS))}")
    return impl
