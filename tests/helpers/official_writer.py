"""Pickles in the official layouts, written by Python's pickler from stand-ins for the official classes."""

from __future__ import annotations

import collections
import contextlib
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers import torch_writer

Array = NDArray[Any]

BUFFERS = ("w_avg", "magnitude_ema", "freqs", "phases", "transform", "noise_const", "_filter")
SOURCE = "raise SystemExit('this is never run')\n"


class EasyDict(dict[str, Any]):
    __module__ = "dnnlib.util"


class Network:
    """A network of TensorFlow 1, whose state is a dictionary."""

    __module__ = "dnnlib.tflib.network"

    def __init__(self, function: str, options: Mapping[str, Any], variables: Mapping[str, Any], **components: Any):
        self.state = {
            "version": 5,
            "name": function.split("_")[0],
            "static_kwargs": dict(options),
            "components": components,
            "build_module_src": SOURCE,
            "build_func_name": function,
            "variables": list(variables.items()),
        }

    def __getstate__(self) -> Any:
        return self.state


def _named(name: str) -> Any:
    """Return a function that pickles under `name`."""
    module, _, attribute = name.rpartition(".")

    def function(*_: Any) -> None:
        raise AssertionError("only its name is used")

    function.__module__, function.__qualname__, function.__name__ = module, attribute, attribute
    return function


REBUILD_TENSOR = _named("torch._utils._rebuild_tensor_v2")
REBUILD_PARAMETER = _named("torch._utils._rebuild_parameter")
LOAD_FROM_BYTES = _named("torch.storage._load_from_bytes")
RECONSTRUCT = _named("torch_utils.persistence._reconstruct_persistent_obj")


class Calls:
    """An object that pickles as the result of a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def storage(array: Array, layout: Any = torch_writer.legacy) -> Calls:
    """Return a storage as plain pickles contain it: a file of torch.save within the file."""
    kind = torch_writer.Global(torch_writer.STORAGES[array.dtype.name])
    identity = torch_writer.Persistent(("storage", kind, "94", "cpu", array.size, None))
    return Calls(LOAD_FROM_BYTES, layout(identity, {"94": np.ascontiguousarray(array).reshape(-1)}))


def tensor(array: Array, layout: Any = torch_writer.legacy) -> Calls:
    stride = tuple(int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim))
    hooks: Any = collections.OrderedDict()
    return Calls(REBUILD_TENSOR, storage(array, layout), 0, array.shape, stride, False, hooks)


def parameter(array: Array, layout: Any = torch_writer.legacy) -> Calls:
    return Calls(REBUILD_PARAMETER, tensor(array, layout), True, collections.OrderedDict())


def module(class_name: str, state: Mapping[str, Any]) -> Calls:
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": dict(state)}
    return Calls(RECONSTRUCT, meta)


def network(
    class_name: str,
    arrays: Mapping[str, Array],
    options: Mapping[str, Any],
    layout: Any = torch_writer.legacy,
    clamps: Any = None,
    name: str = "",
    **attributes: Any,
) -> Calls:
    """Return a module with the submodules that the names of its arrays imply.

    Args:
        clamps: function from a convolution's name to the clamp that it stores; None: convolutions store none.
        name: of the module.
        attributes: that each module has.
    """
    if clamps is not None and np.ndim(arrays.get("weight")) == 4:
        attributes = {**attributes, "conv_clamp": clamps(name)}
    parameters: Any = collections.OrderedDict()
    buffers: Any = collections.OrderedDict()
    inner: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        first, _, rest = key.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = array
        elif key.endswith(BUFFERS):
            buffers[key] = None if array is None else tensor(array, layout)
        else:
            parameters[key] = parameter(array, layout)
    modules: Any = collections.OrderedDict(
        (key, network("Part", part, {}, layout, clamps, f"{name}.{key}".lstrip("."), **attributes))
        for key, part in inner.items()
    )
    state = {
        "training": False,
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": collections.OrderedDict(),
        "_modules": modules,
        "_init_args": (),
        "_init_kwargs": dict(options),
        "size": np.array([36, 36]),
        "gain": np.sqrt(2),
        **attributes,
    }
    return module(class_name, state)


def usual_clamps(conv_clamp: float | None) -> Any:
    """Return what convolutions store of a constructor's conv_clamp: those of skip connections have none."""
    return lambda name: None if name.endswith((".skip", "b4.fromrgb")) else conv_clamp


def dumps(value: Any, protocol: int = 4) -> bytes:
    with _importable():
        return pickle.dumps(value, protocol)


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Make modules importable, as Python's pickler imports the names that it writes."""
    made = []
    try:
        for item in (EasyDict, Network, REBUILD_TENSOR, REBUILD_PARAMETER, LOAD_FROM_BYTES, RECONSTRUCT):
            parts = item.__module__.split(".")
            for name in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                if name not in sys.modules:
                    sys.modules[name] = types.ModuleType(name)
                    made.append(name)
            setattr(sys.modules[item.__module__], item.__name__, item)
        yield
    finally:
        for name in made:
            del sys.modules[name]
