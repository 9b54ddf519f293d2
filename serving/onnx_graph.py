"""ONNX graphs, node by node: the operations of generators, with constants that are computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from sg3tf.ops.geometry import Axis, Resampling

#: Versions supported by ONNX Runtime since 1.14, and by OpenVINO since 2023.
OPSET = 18
IR_VERSION = 8

#: Axes of up to this many samples use a single matrix; longer ones use one per TILE outputs (docs/adr/0038).
MAX_DENSE = 192
TILE = 32


class Images(NamedTuple):
    """A tensor float32 [N, C, height, width] in a graph.

    Examples:
        >>> Images("b8.conv0.Clip_2", 8, 8).height
        8
    """

    name: str
    height: int
    width: int


class GraphWriter:
    """A graph under construction. Tensors are names; equal constants are stored once.

    Args:
        kernels: type in which kernels are stored: float32, or float16, which the graph casts to float32.

    Attributes:
        num_kernels: number of kernels added.

    Examples:
        >>> graph = GraphWriter()
        >>> z = graph.add_input("z", ["N", 3])
        >>> graph.add_output("twice", graph.node("Mul", z, graph.constant(2.0)), ["N", 3])
        >>> [node.op_type for node in graph.model("example").graph.node]
        ['Mul', 'Identity']
    """

    def __init__(self, kernels: type[np.floating[Any]] = np.float32) -> None:
        self.num_kernels = 0
        self._kernels = kernels
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._scope = ""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of nodes in this block with the name of a layer."""
        before, self._scope = self._scope, f"{name}."
        yield
        self._scope = before

    def add_input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        """Add an input; a dimension given by a name is free."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def add_output(self, name: str, tensor: str, shape: Sequence[int | str]) -> None:
        """Add `tensor` as a float32 output."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, value: ArrayLike) -> str:
        """Add a constant: floats as float32, integers as int64; return its name."""
        array = np.asarray(value)
        return self._store(array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32, order="C"))

    def kernel(self, value: NDArray[np.float64]) -> str:
        """Add the weights of a dense layer or a convolution, as float32; return their name."""
        self.num_kernels += 1
        if self._kernels is np.float32:
            return self.constant(value)
        return self.node("Cast", self._store(value.astype(self._kernels, order="C")), to=TensorProto.FLOAT)

    def _store(self, array: NDArray[Any]) -> str:
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"c{len(self._constants)}")
        return self._constants[key].name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation with one output, and return the output's name."""
        name = f"{self._scope}{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def model(self, name: str) -> onnx.ModelProto:
        """Return the graph so far as a model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    # --- Arithmetic ---------------------------------------------------------------------------------------------------

    def add(self, x: str, value: ArrayLike) -> str:
        return self.node("Add", x, self.constant(np.asarray(value, np.float64)))

    def scale(self, x: str, factor: ArrayLike) -> str:
        return self.node("Mul", x, self.constant(np.asarray(factor, np.float64)))

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; 0 keeps a dimension, and -1 is inferred."""
        return self.node("Reshape", x, self.constant(np.array(shape)))

    def columns(self, x: str, start: int, end: int) -> str:
        """x[:, start:end]"""
        return self.node("Slice", x, *(self.constant(np.array([i])) for i in (start, end, 1)))

    def dense(self, x: str, kernel: NDArray[np.float64], bias: NDArray[np.float64]) -> str:
        """x [N, in] times kernel [in, out] plus bias [out]."""
        return self.node("Gemm", x, self.kernel(kernel), self.constant(bias))

    def rsqrt(self, x: str) -> str:
        return self.node("Reciprocal", self.node("Sqrt", x))

    def mean_square(self, x: str, axes: Sequence[int]) -> str:
        """Mean of squares over `axes`, which are kept with size 1."""
        return self.node("ReduceMean", self.node("Mul", x, x), self.constant(np.array(axes)))

    def per_channel(self, x: Images, op: str, factors: str) -> Images:
        """Combine x with one number per image and channel, [N, C]."""
        return x._replace(name=self.node(op, x.name, self.reshape(factors, 0, -1, 1, 1)))

    def leaky_relu(self, x: str, slope: float) -> str:
        return x if slope == 1 else self.node("LeakyRelu", x, alpha=slope)

    def clip(self, x: str, bound: float | None) -> str:
        return x if bound is None else self.node("Clip", x, self.constant(-bound), self.constant(float(bound)))

    # --- Images -------------------------------------------------------------------------------------------------------

    def convolve(self, x: Images, kernel: NDArray[np.float64], pad: int) -> Images:
        """Correlate x with kernel [K, K, in, out] after padding with zeros on all sides."""
        size = len(kernel)
        weights = self.kernel(kernel.transpose(3, 2, 0, 1))
        name = self.node("Conv", x.name, weights, kernel_shape=[size] * 2, pads=[pad] * 4)
        return Images(name, x.height + 2 * pad - size + 1, x.width + 2 * pad - size + 1)

    def convolve_up(self, x: Images, kernel: NDArray[np.float64], up: int) -> Images:
        """Insert zeros between pixels and convolve with kernel [K, K, in, out], as `upsampling_conv`."""
        size = len(kernel)
        weights = self.kernel(kernel.transpose(2, 3, 0, 1))
        name = self.node("ConvTranspose", x.name, weights, kernel_shape=[size] * 2, strides=[up] * 2)
        return Images(name, (x.height - 1) * up + size, (x.width - 1) * up + size)

    def resample(self, x: Images, resampling: Resampling) -> Images:
        """Apply an upfirdn2d as products with matrices, one per axis.

        A sum of separable filters takes two products as well: the first computes the rows of all terms, and the second
        sums over terms and columns at once.
        """
        (y_axis, x_axis), (y_taps, x_taps) = resampling.axes, resampling.filter.taps
        height, width = resampling.out_size(x.height, x.width)
        if _is_identity(y_axis) and _is_identity(x_axis):
            gain = float(np.sum(y_taps * x_taps))
            return x if gain == 1 else x._replace(name=self.scale(x.name, gain))
        terms = len(y_taps)
        rows = self._vertical(x.name, _matrices(y_axis, y_taps, x.height))
        if terms > 1:
            rows = self.reshape(rows, 0, 0, height, terms * x.width)
        return Images(self._horizontal(rows, _matrices(x_axis, x_taps, x.width), height), height, width)

    def _vertical(self, x: str, matrices: NDArray[np.float64]) -> str:
        """[N, C, in, W] -> [N, C, out * terms, W]"""
        parts = []
        for tile in _tiles(matrices):
            part = self._range(x, 2, tile.start, tile.end, matrices.shape[2])
            parts.append(self.node("MatMul", self.constant(tile.matrices.reshape(-1, tile.end - tile.start)), part))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=2)

    def _horizontal(self, x: str, matrices: NDArray[np.float64], height: int) -> str:
        """[N, C, height, terms * in] -> [N, C, height, out]"""
        _, terms, in_size = matrices.shape
        tiles = _tiles(matrices)
        if len(tiles) > 1 and terms > 1:
            x = self.reshape(x, 0, 0, height, terms, in_size)
        parts = []
        for tile in tiles:
            reach = tile.end - tile.start
            part = self._range(x, 3 if terms == 1 else 4, tile.start, tile.end, in_size)
            if len(tiles) > 1 and terms > 1:
                part = self.reshape(part, 0, 0, height, terms * reach)
            parts.append(self.node("MatMul", part, self.constant(tile.matrices.reshape(-1, terms * reach).T)))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=3)

    def _range(self, x: str, axis: int, start: int, end: int, size: int) -> str:
        if (start, end) == (0, size):
            return x
        return self.node("Slice", x, *(self.constant(np.array([i])) for i in (start, end, axis)))


class _Tile(NamedTuple):
    """Outputs of an axis that depend on the inputs from start to end, by matrices [outputs, terms, inputs]."""

    start: int
    end: int
    matrices: NDArray[np.float64]


def _matrices(axis: Axis, taps: NDArray[np.float64], in_size: int) -> NDArray[np.float64]:
    """[out, terms, in]"""
    return np.stack([axis.matrix(term, in_size) for term in taps], axis=1)


def _tiles(matrices: NDArray[np.float64]) -> list[_Tile]:
    out_size, _, in_size = matrices.shape
    if max(out_size, in_size) <= MAX_DENSE:
        return [_Tile(0, in_size, matrices)]
    tiles = []
    for first in range(0, out_size, TILE):
        some = matrices[first : first + TILE]
        used = np.flatnonzero(some.any(axis=(0, 1)))
        start, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        tiles.append(_Tile(start, end, some[:, :, start:end]))
    return tiles


def _is_identity(axis: Axis) -> bool:
    return (axis.up, axis.down, axis.before, axis.after, axis.num_taps) == (1, 1, 0, 0, 1)
