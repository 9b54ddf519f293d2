"""Functions without graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import tensorflow as tf


def without_graphs() -> AbstractContextManager[Any]:
    """Context in which tf.function leaves functions as they are: making graphs takes longer than a few steps."""

    def function(wrapped: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        return wrapped or (lambda later: later)

    return mock.patch.object(tf, "function", function)
