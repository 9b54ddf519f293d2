"""Files in both layouts of torch.save, written opcode by opcode: valid files, and files that PyTorch never writes."""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STORAGES = {
    "float64": "torch.DoubleStorage",
    "float32": "torch.FloatStorage",
    "float16": "torch.HalfStorage",
    "bfloat16": "torch.BFloat16Storage",
    "int64": "torch.LongStorage",
    "int32": "torch.IntStorage",
    "int16": "torch.ShortStorage",
    "int8": "torch.CharStorage",
    "uint8": "torch.ByteStorage",
    "bool": "torch.BoolStorage",
    "complex64": "torch.ComplexFloatStorage",
    "complex128": "torch.ComplexDoubleStorage",
}


@dataclasses.dataclass
class Global:
    name: str


@dataclasses.dataclass
class Call:
    function: str
    arguments: tuple[Any, ...]


@dataclasses.dataclass
class Persistent:
    identity: Any


@dataclasses.dataclass
class Opcodes:
    raw: bytes


def tensor(key: str, kind: str, count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Call:
    """Return a tensor over a storage of `count` elements."""
    storage = Persistent(("storage", Global(kind), key, "cuda:0", count))
    return Call("torch._utils._rebuild_tensor_v2", (storage, offset, size, stride, False, ordered({})))


def ordered(items: Mapping[str, Any]) -> Opcodes:
    """Return an OrderedDict: called without arguments, then filled."""
    body = b"".join(_code(key) + _code(value) for key, value in items.items())
    return Opcodes(_code(Call("collections.OrderedDict", ())) + b"(" + body + b"u")


def whole(arrays: Mapping[str, Array]) -> tuple[Opcodes, dict[str, Array]]:
    """Return a state dict, with one storage for each array, and the storages."""
    storages = {str(i): np.ascontiguousarray(array).reshape(-1) for i, array in enumerate(arrays.values())}
    tensors = {}
    for (name, array), key in zip(arrays.items(), storages, strict=True):
        stride = tuple(int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim))
        tensors[name] = tensor(key, STORAGES[array.dtype.name], array.size, 0, array.shape, stride)
    return ordered(tensors), storages


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + _code(value) + b"."


def _code(value: Any) -> bytes:
    match value:
        case Opcodes(raw):
            return raw
        case Global(name):
            module, _, attribute = name.rpartition(".")
            return f"c{module}\n{attribute}\n".encode()
        case Call(function, arguments):
            return _code(Global(function)) + _code(arguments) + b"R"
        case Persistent(identity):
            return _code(identity) + b"Q"
        case tuple():
            return b"(" + b"".join(map(_code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_code, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_code(key) + _code(item) for key, item in value.items()) + b"u"
    return pickle.dumps(value, 2)[2:-1]


def zipped(value: Any, storages: Mapping[str, Array], *, byteorder: str = "little", **archive: Any) -> bytes:
    """Return a file in the layout since PyTorch 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **archive) as zip_file:
        zip_file.writestr("archive/data.pkl", pickled(value))
        zip_file.writestr("archive/byteorder", byteorder)
        for key, array in storages.items():
            zip_file.writestr(f"archive/data/{key}", array.tobytes())
        zip_file.writestr("archive/version", "3\n")
    return file.getvalue()


def legacy(value: Any, storages: Mapping[str, Array]) -> bytes:
    """Return a file in the layout before PyTorch 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    pickles = (0x1950A86A20F9469CFC6C, 1001, system, value, list(storages))
    data = (struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    return b"".join(map(pickled, pickles)) + b"".join(data)


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a file with a state dict, in the layout of the published files."""
    path.write_bytes(legacy(*whole(arrays)))
