"""The Inception graph: a miniature with the published names, operations, and constants for a batch of one."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics import detectors
from sg3tf.metrics.detectors import DetectorError, inception
from tests.helpers.numerics import relative_error
from tests.helpers.tf1_resize import resized

Array = NDArray[Any]

SIZE, CONV, SPATIAL, CLASSES = 9, 4, 8, 5
EPSILON = 1e-3
SHAPES = {
    "ResizeBilinear:0": (SIZE, SIZE, 3),
    "mixed_6/conv:0": (4, 4, SPATIAL),
    "pool_3:0": (1, 1, SPATIAL + CONV),
    "softmax/logits/MatMul:0": (CLASSES,),
}
POOLED = SPATIAL + CONV


def weights() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    shapes = {
        "conv/conv2d_params": (3, 3, 3, CONV),
        "conv/batchnorm/moving_mean": (CONV,),
        "conv/batchnorm/moving_variance": (CONV,),
        "conv/batchnorm/beta": (CONV,),
        "conv/batchnorm/gamma": (CONV,),
        "mixed_6/conv/conv2d_params": (1, 1, CONV, SPATIAL),
        "softmax/weights": (POOLED, CLASSES),
        "softmax/biases": (CLASSES,),
    }
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    values["conv/batchnorm/moving_variance"] **= 2
    return values


class Graph:
    """A GraphDef as files of 2015 have it."""

    def __init__(self) -> None:
        self.proto = tf.compat.v1.GraphDef()
        self.proto.versions.producer = 7

    def constant(self, name: str, value: Any) -> None:
        tensor = tf.make_tensor_proto(value)
        node = self.proto.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tensor)
        node.attr["dtype"].type = tensor.dtype

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> Any:
        node = self.proto.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            match value:
                case tf.DType():
                    node.attr[key].type = value.as_datatype_enum
                case bool():
                    node.attr[key].b = value
                case int():
                    node.attr[key].i = value
                case float():
                    node.attr[key].f = value
                case str():
                    node.attr[key].s = value.encode()
                case list():
                    node.attr[key].list.i.extend(value)
        return node


def miniature(*, scale: bool = False) -> Graph:
    """DecodeJpeg to softmax: one convolution with everything that the published ones have, one for sFID, the end."""
    graph, float32 = Graph(), tf.float32
    for name, value in weights().items():
        graph.constant(name, value)
    graph.constant("DecodeJpeg/contents", b"no image")
    graph.node("DecodeJpeg", "DecodeJpeg", "DecodeJpeg/contents", channels=3)
    graph.node("Cast", "Cast", "DecodeJpeg", SrcT=tf.uint8, DstT=float32)
    graph.constant("ExpandDims/dim", 0)
    graph.node("ExpandDims", "ExpandDims", "Cast", "ExpandDims/dim", T=float32)
    graph.constant("ResizeBilinear/size", [SIZE, SIZE])
    graph.node("ResizeBilinear", "ResizeBilinear", "ExpandDims", "ResizeBilinear/size", T=float32)
    graph.constant("Sub/y", np.float32(128))
    graph.node("Sub", "Sub", "ResizeBilinear", "Sub/y", T=float32)
    graph.constant("Mul/y", np.float32(1 / 128))
    graph.node("Mul", "Mul", "Sub", "Mul/y", T=float32)
    valid = {"T": float32, "padding": "VALID"}
    graph.node("conv/Conv2D", "Conv2D", "Mul", "conv/conv2d_params", strides=[1, 2, 2, 1], **valid)
    norm = [f"conv/batchnorm/{name}" for name in ("moving_mean", "moving_variance", "beta", "gamma")]
    options = {"T": float32, "variance_epsilon": EPSILON, "scale_after_normalization": scale}
    graph.node("conv/batchnorm", "BatchNormWithGlobalNormalization", "conv/Conv2D", *norm, **options)
    graph.node("conv/CheckNumerics", "CheckNumerics", "conv/batchnorm", T=float32, message="conv")
    graph.node("conv/control_dependency", "Identity", "conv/batchnorm", "^conv/CheckNumerics", T=float32)
    graph.node("conv", "Relu", "conv/control_dependency", T=float32)
    graph.node("mixed_6/conv/Conv2D", "Conv2D", "conv", "mixed_6/conv/conv2d_params", strides=[1, 1, 1, 1], **valid)
    graph.node("mixed_6/conv", "Relu", "mixed_6/conv/Conv2D", T=float32)
    graph.constant("mixed_6/join/concat_dim", 3)
    graph.node("mixed_6/join", "Concat", "mixed_6/join/concat_dim", "mixed_6/conv", "conv", T=float32, N=2)
    graph.node("pool_3", "AvgPool", "mixed_6/join", ksize=[1, 4, 4, 1], strides=[1, 1, 1, 1], **valid)
    graph.constant("pool_3/_reshape/shape", [1, POOLED])
    graph.node("pool_3/_reshape", "Reshape", "pool_3", "pool_3/_reshape/shape", T=float32)
    graph.node("softmax/logits/MatMul", "MatMul", "pool_3/_reshape", "softmax/weights", T=float32)
    graph.node("softmax/logits", "BiasAdd", "softmax/logits/MatMul", "softmax/biases", T=float32)
    graph.node("softmax", "Softmax", "softmax/logits", T=float32)
    record_shapes(graph.proto)
    return graph


def record_shapes(graph: Any) -> None:
    """`_output_shapes` of a batch of one, as exporters of the time wrote them."""
    shapes = {"pool_3": [1, 1, 1, POOLED], "mixed_6/conv": [1, 4, 4, SPATIAL], "softmax/logits/MatMul": [1, CLASSES]}
    for node in graph.node:
        if node.name in shapes:
            shape = tf.TensorShape(shapes[node.name]).as_proto()
            node.attr["_output_shapes"].list.shape.append(shape)


def save(folder: Path, graph: Graph) -> Path:
    (folder / "classify_image_graph_def.pb").write_bytes(graph.proto.SerializeToString())
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "SHAPES", SHAPES)


def images(count: int, height: int = 14, width: int = 11, channels: int = 3) -> Array:
    return np.random.default_rng(2).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def expected(pixels: Array, *, scale: bool) -> dict[str, Array]:
    """The miniature in float64."""
    w = {name: value.astype(np.float64) for name, value in weights().items()}
    x = (resized(pixels, SIZE) - 128) / 128
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2]
    x = np.einsum("nyxcij,ijco->nyxo", windows, w["conv/conv2d_params"])
    x = (x - w["conv/batchnorm/moving_mean"]) / np.sqrt(w["conv/batchnorm/moving_variance"] + EPSILON)
    x = np.maximum(x * (w["conv/batchnorm/gamma"] if scale else 1) + w["conv/batchnorm/beta"], 0)
    spatial = np.maximum(x @ w["mixed_6/conv/conv2d_params"][0, 0], 0)
    pool = np.concatenate([spatial, x], -1).mean((1, 2))
    return {"pool": pool, "logits": pool @ w["softmax/weights"], "spatial": spatial[..., :7].reshape(len(x), -1)}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("scale", [False, True])
def test_outputs_are_those_of_the_graph(tmp_path: Path, scale: bool) -> None:
    detector = detectors.load("inception", save(tmp_path, miniature(scale=scale)))
    assert detector.name == "inception"
    assert detector.outputs == {"pool": POOLED, "logits": CLASSES, "spatial": 4 * 4 * 7}

    actual = tf.function(detector)(images(5))

    for name, value in expected(images(5), scale=scale).items():
        assert actual[name].dtype == tf.float32
        assert relative_error(actual[name], value) < 1e-5, name  # some tens of float32 roundings


@pytest.mark.usefixtures("small")
def test_a_batch_is_its_images(tmp_path: Path) -> None:
    detector = detectors.load("inception", save(tmp_path, miniature()))
    together = detector(images(5))
    singly = [detector(images(5)[i : i + 1]) for i in range(5)]
    for name, value in together.items():
        assert relative_error(value, np.concatenate([one[name] for one in singly])) < 1e-6


@pytest.mark.usefixtures("small")
def test_the_published_graph_takes_one_image(tmp_path: Path) -> None:
    """What the miniature is for: as it stands it fails in both ways that the published one does."""
    graph = miniature().proto

    def run(x: tf.Tensor) -> Any:
        (logits,) = tf.graph_util.import_graph_def(graph, {"ExpandDims:0": x}, ["softmax/logits/MatMul:0"], name="")
        return logits

    with pytest.raises(tf.errors.UnimplementedError, match="BatchNormWithGlobalNormalization"):
        tf.function(run)(tf.zeros([1, 14, 11, 3]))
    graph.CopyFrom(inception.for_batches(graph))
    (shape,) = [node for node in graph.node if node.name == "pool_3/_reshape/shape"]
    shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([1, POOLED]))
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=r"[Rr]eshape"):
        tf.function(run)(tf.zeros([5, 14, 11, 3]))


@pytest.mark.usefixtures("small")
def test_grey_images_are_repeated(tmp_path: Path) -> None:
    detector = detectors.load("inception", save(tmp_path, miniature()))
    gray = images(2, channels=1)
    np.testing.assert_array_equal(detector(gray)["pool"], detector(np.repeat(gray, 3, -1))["pool"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros([1, 8, 8, 3], np.float32), "images are float32: must be uint8"),
        (np.zeros([1, 8, 8, 4], np.uint8), "3 or 1"),
        (np.zeros([8, 8, 3], np.uint8), "3 or 1"),
    ],
)
def test_wrong_images(tmp_path: Path, pixels: Array, message: str) -> None:
    detector = detectors.load("inception", save(tmp_path, miniature()))
    with pytest.raises(DetectorError, match=message):
        detector(pixels)


def _without(name: str) -> Graph:
    graph = miniature()
    for node in [node for node in graph.proto.node if node.name == name]:
        graph.proto.node.remove(node)
    return graph


def _with_shape(value: Any) -> Graph:
    graph = _without("pool_3/_reshape/shape")
    graph.constant("pool_3/_reshape/shape", value)
    return graph


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (_without("mixed_6/conv"), "it has no mixed_6/conv"),
        (_without("conv/conv2d_params"), "it has no conv/conv2d_params"),
        (_with_shape([2, POOLED]), "not a constant shape of one image"),
        (_with_shape([-1, POOLED]), "not a constant shape of one image"),
        (_with_shape(7), "not a constant shape of one image"),
    ],
)
def test_another_network(tmp_path: Path, graph: Graph, message: str) -> None:
    with pytest.raises(DetectorError, match=f"wrong network.*{message}") as error:
        detectors.load("inception", save(tmp_path, graph))
    assert "\n" not in str(error.value)


def test_other_widths(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"wrong network.*ResizeBilinear:0 is \(None, 9, 9, 3\), not"):
        detectors.load("inception", save(tmp_path, miniature()))


def test_published_widths() -> None:
    assert {name: inception.SHAPES[name][-1] for name in SHAPES} == {
        "ResizeBilinear:0": 3,
        "mixed_6/conv:0": 192,
        "pool_3:0": 2048,
        "softmax/logits/MatMul:0": 1008,
    }
    assert inception.SHAPES["mixed_6/conv:0"][0] * inception.SHAPES["mixed_6/conv:0"][1] * 7 == 2023


def test_no_graph(tmp_path: Path) -> None:
    (tmp_path / "classify_image_graph_def.pb").write_bytes(b"<html>not found</html>")
    with pytest.raises(DetectorError, match="not a frozen graph") as error:
        detectors.load("inception", tmp_path)
    assert "\n" not in str(error.value)


def test_digest_is_of_the_file(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, miniature()) / "classify_image_graph_def.pb"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert detectors.load("inception", tmp_path).digest == f"sha256:{digest}"
    monkeypatch.setattr(inception, "PUBLISHED", dataclasses.replace(inception.PUBLISHED, sha256="0" * 64))
    with pytest.raises(DetectorError, match=f"SHA-256 is {digest}"):
        detectors.load("inception", tmp_path)
