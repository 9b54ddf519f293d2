"""Quiet TensorFlow, reproducible examples, and the reference numbers of tests/golden."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from tests.helpers.data_fixtures import faces, noise, unlabeled, write_ffhq  # noqa: F401

# Before anything imports TensorFlow; tests that start processes hand it on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # "triggered tf.function retracing": intended here

# A shell ignores Ctrl-C in what it runs in the background; tests send it to themselves and to their processes.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, so that a red suite means changed code. Tracing makes single examples slow.
settings.register_profile("sg3tf", deadline=None, derandomize=True)
settings.load_profile("sg3tf")

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str], dict[str, Any]]


@functools.cache
def _read(name: str) -> dict[str, Any]:
    as_json = GOLDEN / f"{name}.json"
    if as_json.exists():
        return json.loads(as_json.read_text())
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


@functools.cache
def _why_no_native() -> str:
    from sg3tf.ops import native  # not before a test needs it: it imports TensorFlow

    return native.unavailable_reason(native.FOLDER)  # an error where there is a library, but for another TensorFlow


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests marked `native` where those operations are not to be had."""
    if item.get_closest_marker("native") and (reason := _why_no_native()):
        pytest.skip(f"no native operations: {reason}")


@pytest.fixture(scope="session")
def golden() -> Golden:
    """golden(name) -> the content of tests/golden/NAME.npz or .json."""
    return _read
