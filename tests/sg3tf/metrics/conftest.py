"""Detectors of mean colors in place of the real ones, and networks of 16 pixels."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import sg3tf
from sg3tf.metrics import detectors
from tests.helpers.metric_stubs import MeanColor, two_detectors


def tiny(preset: str, **overrides: Any) -> sg3tf.Generator:
    keras.utils.set_random_seed(0)
    options = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4, **overrides}
    return sg3tf.Generator.from_preset(preset, resolution=16, **options)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, MeanColor]:
    """The detectors that metrics load."""
    found = two_detectors()
    monkeypatch.setattr(detectors, "load", lambda name, folder: found[name])
    return found
