"""The native operations: their library is found, checked and loaded here, and their attributes are encoded.

`make native` (Bazel; custom_ops/) puts three files into sg3tf/ops/lib: the operations, the same for XLA, and a
description of what they were built for.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf.ops import cuda
from sg3tf.ops.geometry import Axis, Filter, Resampling

FOLDER = Path(__file__).with_name("lib")
OPERATIONS = "_sg3tf_native.so"
XLA = "_sg3tf_native_xla.so"
BUILD = "_sg3tf_native.json"  # {"tensorflow": "2.21.0"}
REMEDY = "build them with `make native`, or choose SG3TF_OPS=xla"
REBUILD = "build it again with `make native`, or choose SG3TF_OPS=xla"

_logger = logging.getLogger(__name__)


# --- Availability -----------------------------------------------------------------------------------------------------


def available() -> bool:
    """Load the operations; return False, and warn once, if there is no library that this process can use."""
    return _available(FOLDER)


def available_under_xla() -> bool:
    """Return True if XLA can call the operations, which are loaded already; warn once if it cannot."""
    return _available_under_xla(FOLDER / XLA)


def require() -> None:
    """Load the operations.

    Raises:
        RuntimeError: with the reason and the remedy.
    """
    reason = unavailable_reason(FOLDER)
    if reason:
        raise RuntimeError(f"native operations asked for, but {reason}: {REMEDY}")
    _load(FOLDER)


def operations() -> Any:
    """Return the module of generated functions; call `available` or `require` first."""
    return _load(FOLDER)


@functools.cache
def unavailable_reason(folder: Path) -> str:
    """Return why the operations in `folder` cannot be used on this machine, or an empty string.

    Raises:
        RuntimeError: something is broken: the library was built for another version of TensorFlow or has no
            description, or there is a GPU whose driver is too old, or no compiler for its kernels.
    """
    library = folder / OPERATIONS
    if not library.is_file():
        return f"there is no {library}"
    if (version := built_for(folder)) != tf.__version__:
        raise RuntimeError(f"{library} was built for TensorFlow {version}, but this is {tf.__version__}: {REBUILD}")
    reason = cuda.unavailable_reason() if tf.config.get_visible_devices("GPU") else ""
    if reason:
        raise RuntimeError(f"{reason}, or choose SG3TF_OPS=xla")
    return ""


@functools.cache
def xla_unavailable_reason(library: Path) -> str:
    """Return why XLA cannot call the operations through `library`, or, having loaded it, an empty string."""
    if not library.is_file():
        return f"there is no {library}"
    try:
        tf.load_library(str(library))
    except tf.errors.OpError as error:  # it needs parts of TensorFlow that not all of its builds have
        return f"{library} cannot be loaded ({error.message})"
    return ""


def built_for(folder: Path) -> str:
    """Return the version of TensorFlow that the library in `folder` was built for.

    Raises:
        RuntimeError: its description is missing or damaged.
    """
    try:
        return json.loads((folder / BUILD).read_text())["tensorflow"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RuntimeError(f"cannot read {folder / BUILD} ({error}): run `make native` again") from error


@functools.cache
def _available(folder: Path) -> bool:
    try:
        reason = unavailable_reason(folder)
        if not reason:
            _load(folder)
            return True
        problem = f"{reason}: {REMEDY}"
    except RuntimeError as error:
        problem = " ".join(str(error).split())
    _logger.warning("no native operations, so the slower stock ones are used: %s", problem)
    return False


@functools.cache
def _available_under_xla(library: Path) -> bool:
    reason = xla_unavailable_reason(library)
    if reason:
        _logger.warning("no native operations under jit_compile, so stock ones are used there: %s: %s", reason, REMEDY)
    return not reason


@functools.cache
def _load(folder: Path) -> Any:
    library = folder / OPERATIONS
    cuda.set_nvrtc()
    try:
        module = tf.load_op_library(str(library))
    except tf.errors.OpError as error:
        raise RuntimeError(f"cannot load {library} ({error.message}): {REBUILD}") from error
    # Not only when something is compiled: a function traced before may be called from one that is.
    xla_unavailable_reason(folder / XLA)
    return module


# --- Attributes (custom_ops/resampling/tf/attributes.h) ---------------------------------------------------------------


def native_attributes(resampling: Resampling) -> dict[str, Any]:
    """Return the attributes of Sg3>Upfirdn2d."""
    y, x = resampling.axes
    return {
        "up": [y.up, x.up],
        "down": [y.down, x.down],
        "pad": [y.before, y.after, x.before, x.after],
        "terms": len(resampling.filter.y),
        "taps_y": encode(resampling.filter.y),
        "taps_x": encode(resampling.filter.x),
    }


def native_resampling(op: Any, prefix: str = "", *, up: str = "", down: str = "", pad: str = "") -> Resampling:
    """Return the resampling that attributes of `op` describe.

    Args:
        op: a node with the attributes PREFIXterms, PREFIXtaps_y and PREFIXtaps_x.
        prefix: PREFIX.
        up, down, pad: names of further attributes; an empty one stands for the factors (1, 1) or no padding.
    """
    terms = op.get_attr(f"{prefix}terms")
    taps_y, taps_x = (decode(op.get_attr(f"{prefix}taps_{axis}")).reshape(terms, -1) for axis in "yx")
    up_y, up_x = op.get_attr(up) if up else (1, 1)
    down_y, down_x = op.get_attr(down) if down else (1, 1)
    top, bottom, left, right = op.get_attr(pad) if pad else (0, 0, 0, 0)
    y = Axis(up_y, down_y, top, bottom, taps_y.shape[1])
    x = Axis(up_x, down_x, left, right, taps_x.shape[1])
    return Resampling((y, x), Filter(taps_y, taps_x))


def encode(values: ArrayLike) -> bytes:
    """Return the bytes of float64 numbers: floating point attributes hold float32 only."""
    return np.asarray(values, "<f8").tobytes()


def decode(data: bytes) -> NDArray[np.float64]:
    """Return the numbers that `encode` was given, flattened."""
    return np.frombuffer(data, "<f8")
