"""The examples in the documentation of the operations run."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest

from sg3tf.ops import filtered_lrelu, upfirdn2d, use_backend


@pytest.mark.parametrize("function", [filtered_lrelu, upfirdn2d, use_backend], ids=lambda f: f.__name__)
def test_example(function: Callable[..., Any]) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0
