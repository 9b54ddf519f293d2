"""Export TensorFlow functions as StableHLO. Variables that they read or change become arguments and results."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import tensorflow as tf

from sg3tf.models import layers
from sg3tf.ops import channels, conv3x3, use_backend
from sg3tf.ops.backend import full_float32


@dataclasses.dataclass(frozen=True)
class Exported:
    """A TensorFlow function as StableHLO.

    Attributes:
        text: module; its function `main` takes the flattened inputs and then `captured`, and returns the flattened
            results and then the new values of `updated`. Inputs without elements, such as empty labels, are left out.
        captured: variables that the function reads or changes, and tensors that it holds, in argument order.
        results: structure of the results, with a tf.TensorSpec for each.
        updated: variables that the function changes, in the order of the last results.
    """

    text: str
    captured: list[tf.Variable | tf.Tensor]
    results: Any
    updated: list[tf.Variable]


def export(function: Callable[..., Any], *inputs: Any, backend: str) -> Exported:
    """Export a function for a GPU; nothing is compiled, and no variable changes.

    Args:
        function: takes nested tensors; may read and assign variables.
        inputs: its arguments, nested NumPy arrays or tensors; only their shapes and types matter.
        backend: "native" (custom calls), "xla" or "matmul", see sg3tf.ops.use_backend.
    """
    arguments = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    # Traced outside XLA, under which "matmul" would become "xla".
    with use_backend(backend), _as_on_gpu():
        concrete = tf.function(function, autograph=False).get_concrete_function(*arguments)
    compiled = tf.function(lambda *tensors: concrete(*tensors), jit_compile=True, autograph=False)
    flat = tf.nest.flatten(arguments)
    handles = compiled.get_concrete_function(*flat).captured_inputs
    variables = {variable.handle.ref(): variable for variable in concrete.variables}
    captured = [variables.get(handle.ref(), handle) for handle in handles]
    with full_float32():  # as in training; otherwise XLA rounds operands of float32 products to TF32
        text = compiled.experimental_get_compiler_ir(*flat)(stage="stablehlo")
    parameters = [value for value in [*flat, *captured] if value.shape.num_elements()]
    results = tf.nest.map_structure(tf.TensorSpec.from_tensor, concrete.structured_outputs)
    updated = [parameters[number] for number in _aliased_parameters(text)]
    exported = Exported(_portable(text), [c for c in captured if c.shape.num_elements()], results, updated)
    _check(exported, parameters)
    return exported


@contextmanager
def _as_on_gpu() -> Iterator[None]:
    """Trace layers as on a GPU: float16 convolutions stay float16, and CPU-only kernels are not used."""
    with (
        mock.patch.object(layers, "converts_float16", lambda: False),
        mock.patch.object(channels, "selects_cpu_kernel", lambda impl: False),
        mock.patch.object(conv3x3, "selects_cpu_kernel", lambda impl: False),
    ):
        yield


_ALIAS = re.compile(r"parameter_number = (\d+) : i64}, output_index = array<i64: (\d+)>")


def _aliased_parameters(text: str) -> list[int]:
    """Return the numbers of the parameters whose new values are the last results, in the order of results."""
    return [int(parameter) for parameter, _ in sorted(_ALIAS.findall(text), key=lambda pair: int(pair[1]))]


def _portable(text: str) -> str:
    """Return a module without the mhlo dialect, file names, and the aliases that would donate arguments."""
    text = re.sub(r"(module @\S+) attributes \{.*\} \{$", r"\1 {", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"mhlo\.copy (%\w+) : (tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)
    text = re.sub(r" \{mhlo\.frontend_attributes = \{[^{}]*\}\}", "", text)
    return re.sub(r'loc\("[^"]*":\d+:\d+\)', "loc(unknown)", text)


def _check(exported: Exported, parameters: list[Any]) -> None:
    """Compare the signature of main with the traced arguments and results.

    Raises:
        RuntimeError: they differ, because TensorFlow compiles differently now.
    """
    signature = re.search(r"func\.func @main\((.*)\) -> \(?(.*?)\)? \{$", exported.text, flags=re.MULTILINE)
    if signature is None:
        raise RuntimeError("a program without the function main")
    taken, returned = (re.findall(r"tensor<([^>]*)>", part) for part in signature.groups())
    expected = [*tf.nest.flatten(exported.results), *exported.updated]
    for kind, types, values in (("arguments", taken, parameters), ("results", returned, expected)):
        sizes = ["x".join(type_.split("x")[:-1]) for type_ in types]
        wanted = ["x".join(map(str, value.shape)) for value in values]
        if sizes != wanted:
            raise RuntimeError(f"{kind} of a program: {sizes}, but it was traced from {wanted}")
    if "mhlo." in exported.text:
        raise RuntimeError(f"a program in a dialect of its own: {exported.text[exported.text.index('mhlo.') :][:80]}")
