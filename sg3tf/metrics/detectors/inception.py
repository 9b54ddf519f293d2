"""The Inception network of 2015, from the frozen graph that FID was defined with (Heusel et al. 2017, 1706.08500).

The graph's own first steps are used, its resize above all: other resizes move FID by more than training does. As
published it takes one image at a time; three things are changed so that it takes a batch, none of them a number:

- `ExpandDims`, which makes a batch of the one image, is replaced by the batch;
- shapes that say a batch of 1 (the constant of `pool_3/_reshape`, recorded output shapes) say nothing;
- `BatchNormWithGlobalNormalization`, which TensorFlow removed from graphs newer than version 8 and so refuses inside
  any tf.function, becomes `FusedBatchNorm`, the same function.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google.protobuf.message
import numpy as np
import tensorflow as tf

from sg3tf.metrics.detectors import files
from sg3tf.metrics.detectors.files import DetectorError, Published, rgb_of_bytes

PUBLISHED = Published(
    "classify_image_graph_def.pb",
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
    size=88_931_400,
    archive="inception-2015-12-05.tgz",
)

# Tensor -> shape for one image; the published widths are how the network is recognised.
SHAPES: dict[str, tuple[int, ...]] = {
    "ResizeBilinear:0": (299, 299, 3),
    "mixed_6/conv:0": (17, 17, 192),
    "pool_3:0": (1, 1, 2048),
    "softmax/logits/MatMul:0": (1008,),  # before the bias is added, as the inception score of StyleGAN takes them
}
_INPUT = "ExpandDims:0"
_SPATIAL_CHANNELS = 7  # of sFID, Nash et al. 2021 (2103.03841)


class Inception(tf.Module):
    """Features of FID, KID ("pool"), the inception score ("logits") and sFID ("spatial")."""

    def __init__(self, graph: Any, digest: str) -> None:
        super().__init__("inception")
        self.digest = digest
        self._run = tf.function(
            lambda images: tf.graph_util.import_graph_def(
                graph, input_map={_INPUT: images}, return_elements=list(SHAPES), name=""
            ),
            input_signature=[tf.TensorSpec([None, None, None, 3])],
        )
        self.outputs = _outputs([tensor.shape for tensor in self._run.get_concrete_function().outputs])

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """{output: float32 [N, D]} of images uint8 [N,H,W,3] or [N,H,W,1]; usable inside tf.function."""
        _, spatial, pool, logits = self._run(rgb_of_bytes(images))
        features = {"pool": pool, "logits": logits, "spatial": spatial[..., :_SPATIAL_CHANNELS]}
        return {name: tf.reshape(features[name], [-1, dim]) for name, dim in self.outputs.items()}


def load(folder: Path) -> Inception:
    """The network from `classify_image_graph_def.pb`.

    Raises:
        DetectorError: the file is absent, is no frozen graph, or one of another network.
    """
    path = files.find(folder, PUBLISHED)
    digest = files.sha256(path, PUBLISHED)
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
        return Inception(for_batches(graph), f"sha256:{digest}")
    except google.protobuf.message.DecodeError as error:
        raise DetectorError(f"{path}: no frozen graph of TensorFlow ({error})") from error
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DetectorError(
            f"{path}: detector file of the wrong network ({reason}); see {PUBLISHED.address}"
        ) from error


def for_batches(published: Any) -> Any:
    """A graph with what SHAPES needs of the published one, that takes any number of images at `ExpandDims:0`."""
    graph = tf.compat.v1.GraphDef(versions=published.versions, node=_needed(published))
    nodes = {node.name: node for node in graph.node}
    for node in list(graph.node):
        node.attr.pop("_output_shapes", None)
        if node.op == "Reshape":
            _free_batch(nodes[node.input[1]])
        elif node.op == "BatchNormWithGlobalNormalization":
            _modernise(node, graph)
    return graph


def _needed(graph: Any) -> list[Any]:
    """The nodes that the input and the tensors of SHAPES come from."""
    nodes = {node.name: node for node in graph.node}
    needed: dict[str, Any] = {}
    waiting = [name.removesuffix(":0") for name in (_INPUT, *SHAPES)]
    while waiting:
        name = waiting.pop()
        if name not in nodes:
            raise DetectorError(f"it has no {name}")
        if name not in needed:
            needed[name] = nodes[name]
            waiting += [source.removeprefix("^").split(":")[0] for source in nodes[name].input]
    return list(needed.values())


def _free_batch(shape: Any) -> None:
    """Lets a constant shape [1, ...] be that of any batch."""
    values = tf.make_ndarray(shape.attr["value"].tensor) if shape.op == "Const" else np.zeros(0)
    if values.ndim != 1 or len(values) == 0 or values[0] != 1 or (values < 0).any():
        raise DetectorError(f"{shape.name} is not a constant shape of one image")
    shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([-1, *values[1:]], dtype=values.dtype))


def _modernise(node: Any, graph: Any) -> None:
    """Rewrites (x, mean, variance, beta, gamma) -> gamma (x - mean) / sqrt(variance + epsilon) + beta in place."""
    x, mean, variance, beta, gamma = node.input
    if not node.attr["scale_after_normalization"].b:  # gamma is there, but it is not used
        gamma = f"{node.name}/ones"
        graph.node.add(name=gamma, op="OnesLike", input=[mean]).attr["T"].type = node.attr["T"].type
    epsilon = node.attr["variance_epsilon"].f
    for name in ("variance_epsilon", "scale_after_normalization"):
        node.attr.pop(name, None)
    node.op = "FusedBatchNorm"
    node.input[:] = [x, gamma, beta, mean, variance]
    node.attr["epsilon"].f = epsilon
    node.attr["is_training"].b = False


def _outputs(shapes: list[tf.TensorShape]) -> dict[str, int]:
    """{output: numbers for an image}, if the tensors have the shapes that they should have."""
    for (name, expected), shape in zip(SHAPES.items(), shapes, strict=True):
        if tuple(shape) != (None, *expected):
            raise DetectorError(f"{name} is {tuple(shape)}, not {(None, *expected)}")
    height, width, _ = SHAPES["mixed_6/conv:0"]
    return {
        "pool": SHAPES["pool_3:0"][-1],
        "logits": SHAPES["softmax/logits/MatMul:0"][-1],
        "spatial": height * width * _SPATIAL_CHANNELS,
    }
