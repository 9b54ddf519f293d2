"""Native operations: find, check and load their library, and encode their attributes.

`make native` (Bazel; custom_ops/) puts three files into sg3tf/ops/lib: the operations, their XLA version, and a file
that records the TensorFlow version they were built for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf.ops import cuda
from sg3tf.ops.geometry import Axis, Filter, Resampling
from sg3tf.utils.errors import ExpectedError

FOLDER = Path(__file__).with_name("lib")
OPERATIONS = "_sg3tf_native.so"
XLA = "_sg3tf_native_xla.so"
BUILD = "_sg3tf_native.json"  # {"tensorflow": "2.21.0"}
#: Values of SG3TF_ISA, which limits the instructions that CPU kernels use.
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
REMEDY = "build them with `make native`, or choose SG3TF_OPS=xla"
REBUILD = "build it again with `make native`, or choose SG3TF_OPS=xla"

_logger = logging.getLogger(__name__)


# --- Availability -----------------------------------------------------------------------------------------------------


def available() -> bool:
    """Load the operations; return False, with a single warning, if this process has no usable library."""
    return _available(FOLDER)


def available_under_xla() -> bool:
    """Return True if XLA can call the operations, which must be loaded; warn once if it cannot."""
    return _available_under_xla(FOLDER / XLA)


def require() -> None:
    """Load the operations.

    Raises:
        ExpectedError: with the reason and the remedy.
    """
    reason = unavailable_reason(FOLDER)
    if reason:
        raise ExpectedError(f"native operations asked for, but {reason}: {REMEDY}")
    _load(FOLDER)


def operations() -> Any:
    """Return the module of generated op wrappers; call `available` or `require` first."""
    return _load(FOLDER)


@functools.cache
def unavailable_reason(folder: Path) -> str:
    """Return why the operations in `folder` cannot be used on this machine, or an empty string.

    Raises:
        ExpectedError: the installation is broken: the library was built for another version of TensorFlow or does not
            record the version, a GPU's driver is too old, or there is no compiler for its kernels.
    """
    library = folder / OPERATIONS
    if not library.is_file():
        return f"there is no {library}"
    if (version := built_for(folder)) not in (tf.__version__, _distribution_version()):
        raise ExpectedError(f"{library} was built for TensorFlow {version}, but this is {tf.__version__}: {REBUILD}")
    reason = cuda.unavailable_reason() if tf.config.get_visible_devices("GPU") else ""
    if reason:
        raise ExpectedError(f"{reason}, or choose SG3TF_OPS=xla")
    return ""


@functools.cache
def xla_unavailable_reason(library: Path) -> str:
    """Load `library`; return why XLA cannot call the operations through it, or an empty string."""
    if not library.is_file():
        return f"there is no {library}"
    try:
        tf.load_library(str(library))
    except tf.errors.OpError as error:  # not all builds of TensorFlow have the symbols it needs
        return f"{library} cannot be loaded ({error.message})"
    return ""


def _distribution_version() -> str:
    """Return the version in the metadata of TensorFlow, which may have a suffix that tf.__version__ lacks."""
    try:
        return importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        return ""


def built_for(folder: Path) -> str:
    """Return the version of TensorFlow that the library in `folder` was built for.

    Raises:
        ExpectedError: the file that records it is missing or damaged.
    """
    try:
        return json.loads((folder / BUILD).read_text())["tensorflow"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExpectedError(f"cannot read {folder / BUILD} ({error}): run `make native` again") from error


@functools.cache
def _available(folder: Path) -> bool:
    try:
        reason = unavailable_reason(folder)
        if not reason:
            _load(folder)
            return True
        problem = f"{reason}: {REMEDY}"
    except ExpectedError as error:
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
    limit = os.environ.get("SG3TF_ISA")
    if limit and limit not in INSTRUCTION_SETS:
        raise ValueError(f"SG3TF_ISA={limit!r}: use {', '.join(INSTRUCTION_SETS[:-1])} or {INSTRUCTION_SETS[-1]}")
    cuda.set_nvrtc()
    try:
        module = tf.load_op_library(str(library))
    except tf.errors.OpError as error:
        raise ExpectedError(f"cannot load {library} ({error.message}): {REBUILD}") from error
    # Load it always: a function traced without jit_compile may be called from one with it.
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


def native_resampling(op: Any, prefix: str = "", *, up: str = "", down: str = "", pad: str) -> Resampling:
    """Return the resampling described by the attributes of `op`.

    Args:
        op: a node with the attributes PREFIXterms, PREFIXtaps_y and PREFIXtaps_x.
        prefix: PREFIX.
        up, down, pad: names of further attributes; empty for factors of (1, 1) or no padding.
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
    """Return numbers as float64 bytes, because floating-point attributes hold only float32."""
    return np.asarray(values, "<f8").tobytes()


def decode(data: bytes) -> NDArray[np.float64]:
    """Return the numbers passed to `encode`, flattened."""
    return np.frombuffer(data, "<f8")
