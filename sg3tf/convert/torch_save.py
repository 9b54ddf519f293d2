"""Write torch.save files without PyTorch: nested dicts of arrays in the zip layout, which torch.load reads."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_FOLDER = "archive/"
_PICKLE_PROTOCOL = 2


def write(file: IO[bytes], value: Mapping[str, Any]) -> None:
    """Write a dict of float32 arrays and nested dicts.

    Args:
        file: file open for writing, at its start.
        value: {name: array or dict}.
    """
    storages: list[Array] = []
    pickled = b"\x80" + bytes([_PICKLE_PROTOCOL]) + _code(value, storages) + b"."
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("data.pkl"), pickled)
        archive.writestr(_entry("byteorder"), "little")
        for key, array in enumerate(storages):
            archive.writestr(_entry(f"data/{key}"), array.astype("<f4").tobytes())
        archive.writestr(_entry("version"), "3\n")


def _entry(name: str) -> zipfile.ZipInfo:
    """Zip entry with a fixed date, so that the bytes do not depend on the day."""
    entry = zipfile.ZipInfo(_FOLDER + name)
    entry.external_attr = 0o600 << 16  # permissions after unpacking
    return entry


def _code(value: Any, storages: list[Array]) -> bytes:
    """Return the opcodes that create a value; array contents are appended to `storages`."""
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, tuple):
        return b"(" + b"".join(_code(item, storages) for item in value) + b"t"
    if isinstance(value, Mapping):
        items = b"".join(_code(key, storages) + _code(item, storages) for key, item in value.items())
        return b"}(" + items + b"u"
    return _tensor(np.ascontiguousarray(value, np.float32).reshape(np.shape(value)), storages)


def _tensor(array: Array, storages: list[Array]) -> bytes:
    key = str(len(storages))
    storages.append(array.reshape(-1))
    strides = tuple(stride // array.itemsize for stride in array.strides)
    words = [_code(word, storages) for word in ("storage", key, "cpu", array.size)]
    kind, *rest = words
    storage = b"(" + kind + _global("torch", "FloatStorage") + b"".join(rest) + b"tQ"
    no_hooks = _global("collections", "OrderedDict") + b")R"
    arguments = storage + b"".join(_code(item, storages) for item in (0, array.shape, strides, False)) + no_hooks
    return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()
