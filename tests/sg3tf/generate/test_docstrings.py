"""The examples in docstrings of generate, editing and remote run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = [
    "editing.directions",
    "editing.interfacegan",
    "editing.projector",
    "generate.feature_maps",
    "generate.keras_network",
    "generate.latents_file",
    "generate.network",
    "generate.projection",
    "generate.trajectory",
    "remote",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    results = doctest.testmod(importlib.import_module(f"sg3tf.{name}"))
    assert results.attempted and not results.failed
