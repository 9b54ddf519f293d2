"""Read torch.save files without PyTorch: tensors become arrays, and no code in the file runs.

Since PyTorch 1.6, the file is a zip archive of a pickle and one file per storage. In the legacy layout, it is a
sequence of pickles followed by the bytes of the storages. No more memory is allocated than the file can fill.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

from sg3tf.utils import safe_pickle
from sg3tf.utils.error_text import shown

Array = NDArray[Any]
SetState = Callable[[Any, Any], None]

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DIMENSIONS = 64  # NumPy's

_TYPES: dict[str, DTypeLike] = {
    "torch.DoubleStorage": np.float64,
    "torch.FloatStorage": np.float32,
    "torch.HalfStorage": np.float16,
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
    "torch.LongStorage": np.int64,
    "torch.IntStorage": np.int32,
    "torch.ShortStorage": np.int16,
    "torch.CharStorage": np.int8,
    "torch.ByteStorage": np.uint8,
    "torch.BoolStorage": np.bool_,
    "torch.ComplexFloatStorage": np.complex64,
    "torch.ComplexDoubleStorage": np.complex128,
}
_DTYPES = {name: np.dtype(kind) for name, kind in _TYPES.items()}  # unlike a type, a dtype cannot be called


class TorchFileError(safe_pickle.PickleError):
    """The file is not from torch.save, is broken, or refers to something that is not allowed."""


def read(path: str | Path, allowed: Mapping[str, Any] | None = None) -> Any:
    """Return the object that torch.save wrote to a file.

    Args:
        path: the file, in either layout.
        allowed: {"module.name": replacement} that the file may refer to and call, in addition to those for tensors.

    Returns:
        Tensors and parameters as arrays (bfloat16 from ml_dtypes; views of one storage share memory), in dicts (also
        for OrderedDict), lists, tuples, and plain values.

    Raises:
        TorchFileError: wrong kind of file, truncated file, inconsistent sizes, or a global that is not allowed.
        OSError: the file cannot be opened.
    """
    with Path(path).open("rb") as file:
        try:
            return read_stream(file, allowed)
        except TorchFileError as error:
            raise TorchFileError(f"{path}: {error}") from error


def read_stream(
    file: IO[bytes],
    allowed: Mapping[str, Any] | None = None,
    set_state: SetState = safe_pickle.ignore_attributes,
    skip_foreign: bool = False,
) -> Any:
    """Read like `read`, from an open, seekable file, from start to end.

    Args:
        file: the file.
        allowed: see `read`.
        set_state, skip_foreign: see `sg3tf.utils.safe_pickle.load`.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    layout = _read_zip if file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC else _read_legacy
    file.seek(0)
    try:
        return layout(file, _Storages(size), {**ALLOWED, **(allowed or {})}, set_state, skip_foreign)
    except safe_pickle.PickleError as error:
        raise TorchFileError(" ".join(str(error).split())) from error  # names in the file may contain line breaks


def is_torch_file(head: bytes) -> bool:
    """Return True if `head`, the first 16 or more bytes of a file, is from torch.save."""
    return head.startswith(_ZIP_MAGIC) or _LEGACY_MAGIC.to_bytes(10, "little") in head


def storage_in(blob: bytes) -> Array:
    """Return the flat array that torch.save wrote to `blob`, in the legacy layout as a view of its bytes.

    Replaces torch.storage._load_from_bytes, with which plain pickles store storages.

    Raises:
        TorchFileError: see `read`.
    """
    if bytes(blob[: len(_ZIP_MAGIC)]) == _ZIP_MAGIC:
        array = read_stream(io.BytesIO(blob))
    else:
        storages = _StoragesInPlace(blob)
        array = _read_legacy(io.BytesIO(blob), storages, _DTYPES, safe_pickle.ignore_attributes, skip_foreign=False)
        if len(storages.arrays) == 1 and isinstance(array, np.ndarray):
            (array,) = storages.arrays.values()
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise TorchFileError("it has something else in the place of a storage")
    return array


class _Storages:
    """Flat arrays that tensors are views of; allocated when a pickle refers to them, filled later."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size  # bytes of the file, and those not claimed by a storage
        self.arrays: dict[str, Array] = {}

    def reserve(self, persistent_id: Any) -> Array:
        """Return the storage for a persistent ID, ("storage", type, key, device, number of elements, ...)."""
        kind, dtype, key, _, count, *view = persistent_id
        if kind != "storage" or not isinstance(dtype, safe_pickle.Global) or dtype.name not in _DTYPES:
            name = dtype.name if isinstance(dtype, safe_pickle.Global) else dtype
            raise TorchFileError(f"it refers to a storage of an unknown kind: {shown(kind)}, {shown(name)}")
        if view not in ([], [None]):
            raise TorchFileError("it has views of storages (PyTorch before 0.4): save it again with a newer PyTorch")
        if not isinstance(key, str):
            raise TorchFileError(f"the name of a storage is not text but {shown(key)}")
        count = _whole(count, "number of elements")
        if key not in self.arrays:
            self.free -= count * _DTYPES[dtype.name].itemsize
            if self.free < 0:
                raise TorchFileError(f"truncated: storage {key:.50} has {count} elements, more than the file can hold")
            self.arrays[key] = np.empty(count, _DTYPES[dtype.name])
        array = self.arrays[key]
        if array.dtype != _DTYPES[dtype.name] or len(array) != count:
            raise TorchFileError(f"storage {key:.50} is referred to twice, with different types or sizes")
        return array

    def fill(self, key: str, file: IO[bytes]) -> None:
        """Read the elements of a storage."""
        data = self.arrays[key].view(np.uint8)
        done = 0
        while done < len(data):
            count = file.readinto(data[done:])  # type: ignore[attr-defined]
            if not count:
                raise TorchFileError(f"truncated: storage {key:.50} has {done} of {len(data)} bytes")
            done += count


class _StoragesInPlace(_Storages):
    """Flat arrays that are views of the file's bytes, which are already in memory."""

    def __init__(self, blob: bytes) -> None:
        super().__init__(len(blob))
        self.blob = blob

    def fill(self, key: str, file: IO[bytes]) -> None:
        reserved = self.arrays[key]
        try:
            self.arrays[key] = np.frombuffer(self.blob, reserved.dtype, len(reserved), file.tell())
        except ValueError as error:
            raise TorchFileError(f"truncated: storage {key:.50} has fewer bytes than {reserved.nbytes}") from error
        file.seek(reserved.nbytes, os.SEEK_CUR)


def _read_zip(
    file: IO[bytes], storages: _Storages, allowed: Mapping[str, Any], set_state: SetState, skip_foreign: bool
) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            prefix = _prefix(entries)
            pickled = archive.read(_stored(entries, f"{prefix}data.pkl", storages.size))
            order = f"{prefix}byteorder"
            swapped = order in entries and archive.read(_stored(entries, order, storages.size)) == b"big"
            result = safe_pickle.load(io.BytesIO(pickled), allowed, storages.reserve, set_state, skip_foreign)
            for key, array in storages.arrays.items():
                entry = _stored(entries, f"{prefix}data/{key}", storages.size)
                if entry.file_size != array.nbytes:
                    raise TorchFileError(f"storage {key:.50} has {entry.file_size} bytes, not {array.nbytes}")
                with archive.open(entry) as data:
                    storages.fill(key, data)
                if swapped:
                    array.byteswap(inplace=True)
            return result
    except safe_pickle.PickleError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, struct.error, LookupError) as error:
        raise TorchFileError(f"broken zip archive ({str(error)[:200]})") from error


def _prefix(entries: Mapping[str, zipfile.ZipInfo]) -> str:
    """Return the name of the archive's only folder, which depends on the original file name."""
    found = [name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise TorchFileError("a zip archive, but not one of torch.save: it has no data.pkl")
    return found[0]


def _stored(entries: Mapping[str, zipfile.ZipInfo], name: str, size: int) -> zipfile.ZipInfo:
    """Return an entry after checking that it fits the file and is not compressed; torch.save never compresses."""
    if name not in entries:
        raise TorchFileError(f"truncated: {name[:80]} is missing")
    entry = entries[name]
    if entry.compress_type != zipfile.ZIP_STORED:
        raise TorchFileError(f"{name[:80]} is compressed, which torch.save does not do")
    if not entry.file_size == entry.compress_size <= size:
        raise TorchFileError(f"truncated: {name[:80]} has {entry.file_size} bytes")
    return entry


def _read_legacy(
    file: IO[bytes], storages: _Storages, allowed: Mapping[str, Any], set_state: SetState, skip_foreign: bool
) -> Any:
    try:
        magic = safe_pickle.load(file, {}, storages.reserve)
    except safe_pickle.PickleError:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise TorchFileError("not a file of torch.save")
    protocol = safe_pickle.load(file, {}, storages.reserve)
    system = safe_pickle.load(file, {}, storages.reserve)
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict) or not system.get("little_endian"):
        raise TorchFileError("of an unknown version or byte order: save it again with a newer PyTorch")
    result = safe_pickle.load(file, allowed, storages.reserve, set_state, skip_foreign)
    keys = safe_pickle.load(file, {}, storages.reserve)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TorchFileError("the list of its storages is broken")
    if sorted(keys) != sorted(storages.arrays):
        raise TorchFileError("the list of its storages differs from those that its tensors refer to")
    for key in keys:
        count = int.from_bytes(file.read(8), "little", signed=True)
        if count != len(storages.arrays[key]):
            raise TorchFileError(f"storage {key:.50} has {count} elements, not {len(storages.arrays[key])}")
        storages.fill(key, file)
    return result


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Array:
    """Replacement for torch's functions that rebuild tensors: a view of a storage, without gradient or hooks."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or not storage.flags.c_contiguous:
        raise TorchFileError("a tensor has no storage")
    offset = _whole(offset, "offset")
    shape = [_whole(n, "size") for n in size]
    strides = [_whole(n, "stride") for n in stride]
    if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
        raise TorchFileError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
    if 0 in shape:
        return np.empty(shape, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    count = 1
    for n in shape:
        count *= n
    if last >= len(storage) or count > len(storage):  # a stride of 0 could create any amount of data
        raise TorchFileError(f"a tensor of size {shape} at {offset} is larger than its storage of {len(storage)}")
    steps = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _size(values: Any = ()) -> tuple[int, ...]:
    return tuple(_whole(n, "size") for n in values)


def _bytes(text: str, encoding: str) -> bytes:
    """Replacement for _codecs.encode, with which protocol 2 pickles store bytes."""
    if encoding != "latin1":
        raise TorchFileError(f"bytes in encoding {shown(encoding)}, not in latin1")
    return text.encode(encoding)


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TorchFileError(f"{what} is {shown(value)}, not a whole number of 0 or more")
    return value


#: {"module.name": replacement} of the globals that tensors need.
ALLOWED: dict[str, Any] = {
    "_codecs.encode": _bytes,
    "collections.OrderedDict": safe_pickle.ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    **_DTYPES,
}
