"""What a pickle of NumPy's arrays, scalars and types may mention.

NumPy's own functions, called by a file, would make arrays of objects, and free memory that others still look at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.interop.plain_pickle import Global, PickleError, leave_out

_CLASS = "numpy.ndarray"
_NUMBERS = frozenset(["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
_DIMENSIONS = 32
_PLAIN_TYPE = (None, None, None, -1, -1, 0)  # no sub-array, no fields, nothing else


class PickledArray:
    """An array; pickles mention one before they say what is in it."""

    def __init__(self) -> None:
        self.value: NDArray[Any] = np.empty(0, np.float32)

    def fill(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Lets `value` be a view of `data`."""
        if order not in ("C", "F"):
            raise PickleError("it has an array in an unknown layout")
        if not isinstance(dtype, np.dtype) or not isinstance(data, (bytes, bytearray)):
            raise PickleError("it has an array of something else than numbers")
        whole = type(shape) is tuple and all(type(n) is int and 0 <= n < 2**63 for n in shape)
        if not whole or len(shape) > _DIMENSIONS:
            raise PickleError("it has an array whose shape is not one of whole numbers")
        self.value = np.frombuffer(data, dtype).reshape(shape, order=order)


def set_state(target: Any, state: Any) -> None:
    """For plain_pickle.load: the content of an array, the byte order of a type.

    Raises:
        PickleError: types other than little-endian numbers, sizes that contradict each other.
    """
    if isinstance(target, PickledArray):
        _, shape, dtype, fortran, data = state
        target.fill(data, dtype, shape, "F" if fortran else "C")
    elif isinstance(target, np.dtype):
        _, order, *rest = state
        if order not in ("<", "|") or tuple(rest) != _PLAIN_TYPE:
            raise PickleError(f"it has arrays of an unknown type or byte order ({order!r:.20})")
    else:
        leave_out(target, state)


def _dtype(name: Any, *_: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in _NUMBERS:
        raise PickleError("it has arrays of something else than numbers")
    return np.dtype(name)


def _reconstruct(kind: Any, *_: Any) -> PickledArray:
    if not isinstance(kind, Global) or kind.name != _CLASS:
        raise PickleError("it has an array of an unknown class")
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> PickledArray:
    """How protocol 5 has arrays; what NumPy 2 adds is for orders other than C and F."""
    array = PickledArray()
    array.fill(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> bool | int | float:
    return _from_buffer(data, dtype, (), "C").value.item()


_MODULES = ("numpy.core", "numpy._core")  # before NumPy 2, and since

#: {"module.name": what stands for it}, for plain_pickle.load.
ALLOWED: dict[str, Any] = {
    _CLASS: _CLASS,
    "numpy.dtype": _dtype,
    **{f"{module}.multiarray._reconstruct": _reconstruct for module in _MODULES},
    **{f"{module}.multiarray.scalar": _scalar for module in _MODULES},
    **{f"{module}.numeric._frombuffer": _from_buffer for module in _MODULES},
}
