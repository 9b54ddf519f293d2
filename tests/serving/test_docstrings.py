"""The examples in docstrings run."""

import doctest
import importlib

import pytest

MODULES = ["saved_model", "signatures", "validate", "server.admission", "server.batching", "server.model_manager"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(f"serving.{name}"))
    assert results.attempted and not results.failed
