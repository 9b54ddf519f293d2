"""The implementation of the operations that a test of networks runs with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run without a compiler where possible: tests/sg3tf/ops shows that the implementations agree."""
    import keras  # here, because other tests of this folder start without TensorFlow

    from sg3tf.ops import use_backend

    keras.utils.set_random_seed(0)
    with use_backend(getattr(request, "param", "matmul")):
        yield
