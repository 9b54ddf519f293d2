"""Implementations of the operations, as parameters of tests."""

from __future__ import annotations

import pytest

NATIVE = pytest.param("native", marks=pytest.mark.native)
#: For tests of the operations.
BACKENDS = ("xla", "matmul", NATIVE)
#: For tests of networks against reference numbers, which use the fixture `implementation`.
WITH_AND_WITHOUT_NATIVE = pytest.mark.parametrize("implementation", ["matmul", NATIVE], indirect=True)
