"""The examples in docstrings run, and every public class of the models has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import sg3tf.latents
import sg3tf.models

MODULES = [f"sg3tf.models.{module.name}" for module in pkgutil.iter_modules(sg3tf.models.__path__)]
#: Classes without use of their own: parts of plans, errors, and stand-ins.
WITHOUT_EXAMPLE = {
    "AblationConfig", "AblationLayerPlan", "Band", "ConfigError", "Demodulation", "FormerGenerator", "InputPlan",
    "LayerPlan", "LazyClass", "SignalGrid", "SynthesisPlan",
}  # fmt: skip


@pytest.mark.parametrize("name", [*MODULES, "sg3tf.latents"])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_public_class_has_an_example(name: str) -> None:
    module = importlib.import_module(name)
    classes = {
        attribute: value
        for attribute, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == name and not attribute.startswith("_")
    }
    missing = {attribute for attribute, value in classes.items() if ">>>" not in (value.__doc__ or "")}
    assert missing <= WITHOUT_EXAMPLE
