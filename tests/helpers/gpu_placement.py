"""Find out where a TensorFlow function would run on a GPU, and what it would copy, on a machine without one.

TensorFlow's wheels for Linux register the kernels of GPUs too, with the types they are for and the arguments that they
take or return in host memory. So a graph tells which operations have no kernel for a GPU, and which tensors one
operation makes on the device and another needs on the host (a copy that stops the step until the device is idle), or
the other way around.

Not seen: what XLA and grappler change, and copies that TensorFlow's runtime or a strategy adds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph, kernels

_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}
#: Operations without work of their own, which run where their data is.
_STRUCTURAL = {"Placeholder", "_Arg", "_Retval", "NoOp", "Identity", "IdentityN", "StopGradient"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile", "Case"}


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A tensor that is made in one memory and needed in the other."""

    producer: str
    consumer: str
    to_host: bool
    dtype: tf.DType
    shape: tf.TensorShape

    @property
    def num_bytes(self) -> float:
        """Bytes of the tensor; infinite if its shape is unknown."""
        count = self.shape.num_elements() if self.shape.rank is not None else None
        return float("inf") if count is None else count * self.dtype.size


@dataclasses.dataclass
class Placement:
    """The operations of a graph that have no kernel for a GPU, and the tensors that cross."""

    without_kernel: Counter[str] = dataclasses.field(default_factory=Counter)
    crossings: list[Crossing] = dataclasses.field(default_factory=list)
    operations: int = 0


@functools.cache
def _kernels(op_type: str) -> list[Any]:
    registered = kernels.get_registered_kernels_for_op(op_type).kernel
    return [kernel for kernel in registered if kernel.device_type in ("GPU", "DEFAULT")]


def _kernel(op: tf.Operation) -> Any:
    """Return the KernelDef of an operation on a GPU, or None."""
    found = None
    for kernel in _kernels(op.type):
        fits = all(
            op.get_attr(c.name).as_datatype_enum in c.allowed_values.list.type
            if isinstance(op.get_attr(c.name), tf.DType)
            else True
            for c in kernel.constraint
        )
        if fits and (found is None or kernel.priority > found.priority or kernel.device_type == "GPU"):
            found = kernel
    return found


def _arguments(op: tf.Operation, definitions: Any, tensors: Any) -> list[str]:
    """Return the name of the argument that each tensor belongs to."""
    names = []
    for definition in definitions:
        count = 1
        if definition.number_attr:
            count = op.get_attr(definition.number_attr)
        elif definition.type_list_attr:
            count = len(op.get_attr(definition.type_list_attr))
        names += [definition.name] * count
    return names


def _is_constant(op: tf.Operation, folded: set[str]) -> bool:
    """Return true for what grappler computes beforehand: constants, static shapes, and functions of those."""
    if op.type == "Const" or (op.type in _SHAPES and all(t.shape.is_fully_defined() for t in op.inputs)):
        return True
    if op.op_def.is_stateful or not op.inputs or op.type in _CALLS:
        return False
    return all(tensor.name in folded for tensor in op.inputs)


def examine(graph: tf.Graph, placement: Placement | None = None, seen: set[str] | None = None) -> Placement:
    """Return the placement of a graph and of the functions it calls."""
    placement = placement if placement is not None else Placement()
    seen = seen if seen is not None else set()
    on_host: dict[str, bool] = {}
    folded: set[str] = set()
    for op in graph.get_operations():
        if _is_constant(op, folded):
            folded.update(tensor.name for tensor in op.outputs)
            continue
        placement.operations += 1
        if op.type in _STRUCTURAL:
            source = op.inputs[0] if op.inputs else None
            for tensor in op.outputs:
                host = on_host.get(source.name, False) if source is not None else tensor.dtype == tf.int32
                on_host[tensor.name] = host
            continue
        if op.type in _CALLS:
            for tensor in op.outputs:
                on_host[tensor.name] = tensor.dtype == tf.int32
            for name in ("f", "then_branch", "else_branch", "cond", "body"):
                try:
                    function = op.get_attr(name).name
                except ValueError:
                    continue
                if function not in seen:
                    seen.add(function)
                    definition = graph._get_function(function).cached_definition
                    examine(function_def_to_graph.function_def_to_graph(definition), placement, seen)
            continue
        kernel = _kernel(op)
        if kernel is None:
            placement.without_kernel[op.type] += 1
            inputs = [True] * len(op.inputs)
            outputs = [True] * len(op.outputs)
        else:
            host = set(kernel.host_memory_arg)
            inputs = [name in host for name in _arguments(op, op.op_def.input_arg, op.inputs)]
            outputs = [name in host for name in _arguments(op, op.op_def.output_arg, op.outputs)]
        for tensor, here in zip(op.outputs, outputs, strict=True):
            on_host[tensor.name] = here or tensor.dtype == tf.resource
        for tensor, needed in zip(op.inputs, inputs, strict=True):
            if tensor.name in folded or tensor.dtype in (tf.resource, tf.variant):
                continue
            if needed != on_host.get(tensor.name, False):
                placement.crossings.append(Crossing(tensor.op.type, op.type, needed, tensor.dtype, tensor.shape))
    return placement
