"""Read pickles without running their code, with a stack machine that calls only explicitly allowed functions.

Python's own unpickler can restrict which globals are found, but not what happens to them: it sets attributes of any
object, hashes keys of any depth, and allocates as much memory as the file requests.
"""

from __future__ import annotations

import dataclasses
import os
import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils.error_text import shown

# fmt: off
_LITERAL_OPCODES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})
# fmt: on
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_CONTAINERS: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOOP_OPCODES = frozenset({"PROTO", "FRAME", "STOP"})
_BROKEN_PICKLE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    RecursionError,
)
_KEY_TYPES = (str, bytes, int, float, type(None))  # nested tuples overflow the C stack when hashed
_TEXT, _CONTAINER = (str, bytes, bytearray), (list, tuple, dict, set, frozenset)
_CHUNK_BYTES = 2**16
_MAX_COPIES = 2  # of the file; pickles written by Python pass each byte to a function once
_MAX_STEPS = 2**20  # about 50 times as many as a network needs; each can turn one byte into about 200
# Unlike those of text, hashes of numbers are known: thousands can have the same one, and take quadratic time as keys.
_SMALL_KEY = 2**20  # these hashes differ
_MAX_LARGE_KEYS = 2**12  # old optimizer states have the address of each parameter


class PickleError(ValueError):
    """Broken pickle, or a reference to something that is not allowed."""


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that a pickle refers to, and its allowed replacement."""

    name: str
    value: Any


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Stand-in for a global that is not allowed, or for its result; keeps only the name, and runs nothing."""

    name: str


def ignore_attributes(target: Any, state: Any) -> None:
    """Ignore attributes of a dict, such as a state dict's `_metadata`; reject those of anything else."""
    if not isinstance(target, dict):
        raise PickleError(f"it sets attributes of a {type(target).__name__}, which is not allowed")


def refuse_persistent(identity: Any) -> Any:
    """Reject a persistent ID, in formats without them."""
    raise PickleError("it refers to an object outside of the pickle")


def load(
    file: IO[bytes],
    allowed: Mapping[str, Any],
    persistent: Callable[[Any], Any] = refuse_persistent,
    set_state: Callable[[Any, Any], None] = ignore_attributes,
    skip_foreign: bool = False,
) -> Any:
    """Return the object in a pickle; the file position is left at the end of the pickle.

    Args:
        file: seekable file, at the start of the pickle; protocols 0 to 5.
        allowed: {"module.name": replacement}. The pickle may call a callable replacement with any arguments.
        persistent: returns the object for a persistent ID.
        set_state: applies a state in the pickle to an object, which may be of any type.
        skip_foreign: replace globals that are not allowed by Foreign, instead of rejecting the file.

    Returns:
        dict, list, tuple, set, str, bytes, numbers, None, and the results of `allowed` and `persistent`. A replacement
        that is not called stays a Global.

    Raises:
        PickleError: the pickle is broken, refers to or calls something that is not allowed, or creates more objects
            than a network has, or more data than the file contains.
    """
    bounded = _Bounded(file)
    budget = _MAX_COPIES * bounded.left() + _CHUNK_BYTES
    machine = _Machine(allowed, persistent, set_state, skip_foreign, budget)
    try:
        for opcode, argument, _ in pickletools.genops(bounded):  # type: ignore[arg-type]
            machine.step(opcode.name, argument)
        (result,) = machine.stack
    except PickleError:
        raise
    except _BROKEN_PICKLE_ERRORS as error:
        raise PickleError(f"the pickle in it is broken ({type(error).__name__}: {str(error)[:200]})") from error
    return result


def ordered_dict(items: Any = ()) -> dict[Any, Any]:
    """Replacement for collections.OrderedDict: returns a dict from [[key, value], ...]."""
    return {_small_key(key): value for key, value in items}


class _Bounded:
    """File whose reads are limited to its size, because Python allocates memory before reading."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.readline = file.readline
        start = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        file.seek(start)

    def left(self) -> int:
        return self.size - self.file.tell()

    def read(self, count: int) -> bytes:
        return self.file.read(count if count < _CHUNK_BYTES else min(count, self.left()))


class _Machine:
    """State of the pickle machine: the stack, the stacks below its marks, and the memo.

    Functions in `allowed` and `set_state` may copy their arguments, which a pickle can repeat with two bytes. Two
    budgets limit this: bytes passed to them, and steps.
    """

    def __init__(
        self,
        allowed: Mapping[str, Any],
        persistent: Callable[[Any], Any],
        set_state: Callable[[Any, Any], None],
        skip_foreign: bool,
        bytes_left: int,
    ) -> None:
        self.allowed = allowed
        self.persistent = persistent
        self.set_state = set_state
        self.skip_foreign = skip_foreign
        self.bytes_left = bytes_left
        self.steps_left = _MAX_STEPS
        self.large_keys_left = _MAX_LARGE_KEYS
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        self.steps_left -= 1
        self.check_budgets()
        if opcode in _LITERAL_OPCODES:
            self.push(argument)
        elif opcode in _CONSTANTS:
            self.push(_CONSTANTS[opcode])
        elif opcode in _CONTAINERS:
            self.push(_CONTAINERS[opcode]())
        elif opcode in _TUPLES:
            self.push(tuple(self.pop(_TUPLES[opcode])))
        elif opcode not in _NOOP_OPCODES:
            action = _ACTIONS.get(opcode)
            if action is None:
                raise PickleError(f"its pickle uses {opcode}, which is not allowed")
            action(self, argument)

    def check_budgets(self) -> None:
        if self.bytes_left < 0 or self.steps_left < 0:
            raise PickleError("its pickle makes more objects than a network has, or more data than the file holds")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("empty stack")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("the name of a global is not text")
        full = f"{module}.{name}"
        if full not in self.allowed:
            if not self.skip_foreign:
                raise PickleError(f"it refers to {full[:200]!r}, which is not allowed")
            self.push(Foreign(full[:200]))
            return
        self.push(Global(full, self.allowed[full]))

    def call(self) -> None:
        function, arguments = self.pop(2)
        if isinstance(function, Foreign):
            self.push(function)
            return
        if not isinstance(function, Global) or not callable(function.value):
            name = function.name if isinstance(function, Global) else f"a {type(function).__name__}"
            raise PickleError(f"it calls {name}, which is not allowed")
        if type(arguments) is not tuple:
            raise TypeError("arguments are not a tuple")
        self.bytes_left -= _num_bytes(arguments)
        self.steps_left -= sum(len(argument) for argument in arguments if isinstance(argument, _CONTAINER))
        self.check_budgets()
        self.push(function.value(*arguments))

    def call_with_names(self) -> None:
        """Call with positional and named arguments, which is only allowed for foreign classes."""
        function, _, _ = self.pop(3)
        if not isinstance(function, Foreign):
            raise PickleError("it calls something with named arguments, which is not allowed")
        self.push(function)

    def build(self) -> None:
        target, state = self.pop(2)
        if not isinstance(target, Foreign):
            self.bytes_left -= _num_bytes(state) if isinstance(state, tuple) else 0
            self.check_budgets()
            self.set_state(target, state)
        self.push(target)

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], Foreign):
            return
        if type(self.stack[-1]) is not list:
            raise TypeError(f"a {type(self.stack[-1]).__name__} is not a list")
        self.stack[-1].extend(values)

    def add(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], Foreign):
            return
        if type(self.stack[-1]) is not set:
            raise TypeError(f"a {type(self.stack[-1]).__name__} is not a set")
        self.stack[-1].update(map(self.key, values))

    def set_items(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], Foreign):
            return
        if not isinstance(self.stack[-1], dict):
            raise TypeError(f"a {type(self.stack[-1]).__name__} is not a dict")
        self.stack[-1].update(self.items(values))

    def items(self, values: list[Any]) -> dict[Any, Any]:
        return {self.key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}

    def key(self, value: Any) -> Any:
        self.large_keys_left -= not _is_small(value)
        if self.large_keys_left < 0:
            raise PickleError(f"its pickle has more than {_MAX_LARGE_KEYS} large numbers as keys, unlike a network's")
        return _key(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


def _key(value: Any) -> Any:
    if not isinstance(value, _KEY_TYPES):
        raise TypeError(f"a {type(value).__name__} cannot be a key")
    return value


def _small_key(value: Any) -> Any:
    if not _is_small(value):
        raise TypeError(f"{shown(value)} cannot be a key")
    return _key(value)


def _is_small(value: Any) -> bool:
    """Return True for anything but numbers whose hashes may be the same as those of many others."""
    return not isinstance(value, float) and (not isinstance(value, int) or abs(value) < _SMALL_KEY)


def _num_bytes(values: tuple[Any, ...]) -> int:
    return sum(len(value) for value in values if isinstance(value, _TEXT))


_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop(1),
    "POP_MARK": lambda machine, _: machine.pop_to_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, key: machine.push(machine.memo[key])),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "DICT": lambda machine, _: machine.push(machine.items(machine.pop_to_mark())),
    "FROZENSET": lambda machine, _: machine.push(frozenset(map(machine.key, machine.pop_to_mark()))),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.add(machine.pop_to_mark()),
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.pop(2)),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "NEWOBJ_EX": lambda machine, _: machine.call_with_names(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.push(machine.persistent(machine.pop(1)[0])),
}


# --- NumPy arrays, scalars and types in pickles -----------------------------------------------------------------------

# Replace NumPy's own functions: a file could use them to make object arrays and views of freed memory.
_CLASS = "numpy.ndarray"
_NUMBERS = frozenset(["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
_DIMENSIONS = 32
_PLAIN_TYPE = (None, None, None, -1, -1, 0)  # no sub-array, no fields, nothing else


class PickledArray:
    """Array that is created empty, as in pickles, and filled by a later opcode.

    Examples:
        >>> array = PickledArray()
        >>> array.fill(bytes([1, 0, 2, 0]), np.dtype("<i2"), (2,), "C")
        >>> array.value
        array([1, 2], dtype=int16)
    """

    def __init__(self) -> None:
        self.value: NDArray[Any] = np.empty(0, np.float32)

    def fill(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Make `value` a view of `data`."""
        if order not in ("C", "F"):
            raise PickleError("it has an array in an unknown layout")
        if not isinstance(dtype, np.dtype) or not isinstance(data, (bytes, bytearray)):
            raise PickleError("it has an array whose elements are not numbers")
        whole = type(shape) is tuple and all(type(n) is int and 0 <= n < 2**63 for n in shape)
        if not whole or len(shape) > _DIMENSIONS:
            raise PickleError("it has an array whose shape is not a tuple of whole numbers")
        self.value = np.frombuffer(data, dtype).reshape(shape, order=order)


def set_state(target: Any, state: Any) -> None:
    """Apply an array's content or a dtype's byte order; for the argument `set_state` of `load`.

    Raises:
        PickleError: the dtype is not a little-endian number, or sizes are inconsistent.
    """
    if isinstance(target, PickledArray):
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):  # bytes in Python 2
            data = data.encode("latin-1")
        target.fill(data, dtype, shape, "F" if fortran else "C")
    elif isinstance(target, np.dtype):
        _, order, *rest = state
        if order not in ("<", "|") or tuple(rest) != _PLAIN_TYPE:
            raise PickleError(f"it has arrays of an unknown type or byte order ({shown(order)})")
    else:
        ignore_attributes(target, state)


def _dtype(name: Any, *_: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in _NUMBERS:
        raise PickleError("it has arrays whose elements are not numbers")
    return np.dtype(name)


def _reconstruct(kind: Any, *_: Any) -> PickledArray:
    if not isinstance(kind, Global) or kind.name != _CLASS:
        raise PickleError("it has an array of an unknown class")
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> PickledArray:
    """Replacement for protocol 5's array constructor; NumPy 2 adds an argument for other orders."""
    array = PickledArray()
    array.fill(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> bool | int | float:
    return _from_buffer(data, dtype, (), "C").value.item()


_MODULES = ("numpy.core", "numpy._core")  # before NumPy 2, and since

#: {"module.name": replacement}, for `load`.
ALLOWED: dict[str, Any] = {
    _CLASS: _CLASS,
    "numpy.dtype": _dtype,
    **{f"{module}.multiarray._reconstruct": _reconstruct for module in _MODULES},
    **{f"{module}.multiarray.scalar": _scalar for module in _MODULES},
    **{f"{module}.numeric._frombuffer": _from_buffer for module in _MODULES},
}
