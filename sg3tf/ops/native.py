"""The library of native operations: finds it, loads it, and says why not.

`make native` (Bazel; custom_ops/) puts into sg3tf/ops/lib: the operations, the same for XLA, and a file that tells
what they were built for.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import json
import logging
from pathlib import Path
from typing import Any

import tensorflow as tf

FOLDER = Path(__file__).with_name("lib")
OPERATIONS = "_sg3tf_native.so"
XLA = "_sg3tf_native_xla.so"
BUILD = "_sg3tf_native.json"  # {"tensorflow": "2.21.0", "cuda": "13.0" or null}
REMEDY = "build them with `make native`, or choose SG3TF_OPS=xla"

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Build:
    """What a library was built for."""

    tensorflow: str
    cuda: str | None


def available() -> bool:
    """Whether the operations are loaded and right for this machine; one warning if not.

    Raises:
        RuntimeError: there is a library, but for another version of TensorFlow, or damaged.
    """
    return _available(FOLDER)


def available_under_xla() -> bool:
    """Whether XLA can call the operations, which are loaded; one warning if not."""
    return _compiles(FOLDER / XLA)


def require() -> None:
    """Loads the operations.

    Raises:
        RuntimeError: with the reason and the remedy.
    """
    reason = unavailable_reason(FOLDER)
    if reason:
        raise RuntimeError(f"native operations asked for, but {reason}: {REMEDY}")
    _load(FOLDER)


def operations() -> Any:
    """The module of generated functions. Loaded already: `available` or `require` comes first."""
    return _load(FOLDER)


@functools.cache
def unavailable_reason(folder: Path) -> str:
    """Why the operations in `folder` cannot be used, or nothing.

    Raises:
        RuntimeError: they are for another version of TensorFlow, or nothing tells for which.
    """
    library = folder / OPERATIONS
    if not library.is_file():
        return f"there is no {library}"
    build = read_build(folder)
    if build.tensorflow != tf.__version__:
        raise RuntimeError(
            f"{library} was built for TensorFlow {build.tensorflow}, but this is {tf.__version__}: "
            "build it again with `make native`"
        )
    if tf.config.get_visible_devices("GPU"):
        if build.cuda is None:
            return f"{library} was built without CUDA, and there is a GPU"
        if _driver_cuda() < _version(build.cuda):
            return f"the GPU's driver is too old for CUDA {build.cuda}, with which {library} was built"
    return ""


@functools.cache
def why_not_xla(library: Path) -> str:
    """Why XLA cannot call the operations through `library`, or nothing: then it can from now on."""
    if not library.is_file():
        return f"there is no {library}"
    try:
        tf.load_library(str(library))
    except tf.errors.OpError as error:  # it needs parts of TensorFlow that are not the same in all its builds
        return f"{library} cannot be loaded ({error.message})"
    return ""


def read_build(folder: Path) -> Build:
    """What the library in `folder` was built for.

    Raises:
        RuntimeError: the file that tells is missing or damaged.
    """
    try:
        return Build(**json.loads((folder / BUILD).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeError(f"cannot read {folder / BUILD} ({error}): run `make native` again") from error


@functools.cache
def _available(folder: Path) -> bool:
    reason = unavailable_reason(folder)
    if reason:
        _logger.warning("no native operations, so the slower stock ones are used: %s: %s", reason, REMEDY)
        return False
    _load(folder)
    return True


@functools.cache
def _compiles(library: Path) -> bool:
    reason = why_not_xla(library)
    if reason:
        _logger.warning("no native operations under jit_compile, so stock ones are used there: %s: %s", reason, REMEDY)
    return not reason


@functools.cache
def _load(folder: Path) -> Any:
    library = folder / OPERATIONS
    try:
        module = tf.load_op_library(str(library))
    except tf.errors.OpError as error:
        raise RuntimeError(f"cannot load {library} ({error.message}): build it again with `make native`") from error
    # Not only when something is compiled: a function traced before may be called from one that is.
    why_not_xla(folder / XLA)
    return module


def _driver_cuda() -> tuple[int, int]:
    """Newest CUDA version that the driver runs; (0, 0) without a driver."""
    version = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return 0, 0
    return version.value // 1000, version.value % 1000 // 10


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
