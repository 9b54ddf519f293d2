"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["augment.controller", "augment.pipeline", "inputs", "keras_trainer", "logger"]
MODULES += ["random_inputs", "schedule", "stats"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(f"trainer.{name}"))
    assert results.attempted and not results.failed
