"""JSON of TensorFlow Serving's predict calls: requests to arrays, and arrays to answers.

Row form: {"instances": [one per image]} -> {"predictions": [...]}. Column form: {"inputs": whole arrays} ->
{"outputs": ...}. Binary values are {"b64": text}; binary outputs have names that end in _bytes. A signature with one
input or one output needs no name for it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.errors import RequestError, invalid

ROW, COLUMN = "instances", "inputs"
# Numbers that one call of C code writes; no other thread runs until it returns.
_PIECE = 1 << 12


def read_request(body: bytes | bytearray) -> dict[str, Any]:
    """Parse the JSON object in `body`.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is not a JSON object.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid('JSON Value: the request must be an object with "instances" or "inputs"')
    return request


def read_inputs(body: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Convert the inputs of a request to arrays of the signature's dtypes, by name.

    Raises:
        RequestError: INVALID_ARGUMENT, if the form is wrong.
    """
    if (ROW in body) == (COLUMN in body):
        raise invalid('the request must have one of "instances" (rows) and "inputs" (columns)')
    values = _columns(body[ROW], signature) if ROW in body else _named(body[COLUMN], signature)
    # Unknown names pass without their values; the model reports them together with missing ones.
    types = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    return {name: _to_array(name, value, types.get(name)) for name, value in values.items()}


def write_outputs(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """Return the answer as JSON, in the row or else in the column form.

    Raises:
        RequestError: INVALID_ARGUMENT, if an output has no rows for the row form, or is binary under another name.
    """
    if by_row:
        _check_rows(outputs)
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        text = _array_text(name, array)
    elif by_row:
        (rows,) = {len(array) for array in outputs.values()}
        text = _list_text(
            _object_text({name: array[index, ...] for name, array in outputs.items()}) for index in range(rows)
        )
    else:
        text = _object_text(outputs)
    return f'{{"{"predictions" if by_row else "outputs"}": {text}}}'.encode()


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    shapes = {name: array.shape for name, array in outputs.items()}
    if () in shapes.values() or len({shape[0] for shape in shapes.values()}) > 1:
        text = ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())
        raise invalid(f'the outputs do not have one row per instance: {text}; send "inputs", the column form')


def _columns(rows: Any, signature: meta_graph_pb2.SignatureDef) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or not rows:
        raise invalid('"instances" must be a list with at least one instance')
    named = [_named(row, signature) for row in rows]
    for index, row in enumerate(named):
        if row.keys() != named[0].keys():
            raise invalid(f'"instances" {index} has other inputs than the first one')
    return {name: [row[name] for row in named] for name in named[0]}


def _named(value: Any, signature: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    if isinstance(value, dict) and value.keys() != {"b64"}:
        return value
    if len(signature.inputs) != 1:
        names = ", ".join(sorted(signature.inputs))
        raise invalid(f"this signature has several inputs; name them in an object: {names}")
    return {next(iter(signature.inputs)): value}


def _to_array(name: str, value: Any, dtype: tf.DType | None) -> np.ndarray:
    if dtype is None:
        return np.empty(0)
    if dtype == tf.string:
        return _text_array(name, value)
    # In NumPy's text arrays, every element takes the size of the longest one.
    numbers_only = f"{name!r} must hold {dtype.name} numbers only"
    if _holds_text(value):
        raise invalid(numbers_only)
    try:
        array = np.array(value)
    except ValueError as error:
        raise _ragged(name) from error
    kinds = "iuf" if dtype.is_floating else "b" if dtype.is_bool else "iu"
    if array.size and array.dtype.kind not in kinds:
        raise invalid(numbers_only)
    with np.errstate(over="ignore"):  # check_inputs rejects infinity
        converted = array.astype(dtype.as_numpy_dtype)
    if not dtype.is_floating and np.any(converted != array):
        raise invalid(f"{name!r} has a value outside of {dtype.name}")
    return converted


def _ragged(name: str) -> RequestError:
    return invalid(f"{name!r} is not a rectangular array")


def _holds_text(value: Any) -> bool:
    lists = [[value]]
    while lists:
        for item in lists.pop():
            if isinstance(item, str):
                return True
            if isinstance(item, list):
                lists.append(item)
    return False


def _text_array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.array(_decode_bytes(name, value), dtype=object)
    except (RecursionError, ValueError) as error:
        raise _ragged(name) from error
    if not all(isinstance(item, bytes) for item in array.flat):  # lists of different lengths, or nested too deeply
        raise _ragged(name)
    return array


def _decode_bytes(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_decode_bytes(name, item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise invalid(f"{name!r} has a b64 value that is not base64: {error}") from error
    raise invalid(f'{name!r} must hold text, or binary as {{"b64": text}}')


def _object_text(outputs: Mapping[str, np.ndarray]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {_array_text(name, array)}" for name, array in outputs.items()) + "}"


def _list_text(items: Iterable[str]) -> str:
    return "[" + ", ".join(items) + "]"


def _array_text(name: str, array: np.ndarray) -> str:
    """Return an array as JSON, written in pieces, between which other threads may run."""
    is_text = array.dtype.kind in "OS"
    if array.ndim == 0 or (not is_text and (array.ndim == 1 or array.size <= _PIECE)):
        return json.dumps(_plain(name, array))
    return _list_text(_array_text(name, array[index, ...]) for index in range(len(array)))


def _plain(name: str, array: np.ndarray) -> Any:
    """Return numbers, or one text, as objects that `json` can write."""
    if array.dtype.kind not in "OS":
        return array.tolist()
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(array.item()).decode()}
    try:
        return array.item().decode()
    except UnicodeDecodeError as error:
        raise invalid(f"output {name!r} is binary, but its name does not end in _bytes: use gRPC") from error
