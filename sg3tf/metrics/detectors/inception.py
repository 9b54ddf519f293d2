"""The Inception network of 2015, from the frozen graph used in the definition of FID (Heusel et al. 2017, 1706.08500).

The graph's own preprocessing is used, most importantly its resize, because other resizes change FID by more than
training does. As published, the graph takes one image at a time. Three changes, which leave all numbers as they are,
let it take a batch:

- `ExpandDims`, which adds the batch axis to an image, is replaced by the batch;
- shapes with a batch size of 1 (the constant of `pool_3/_reshape`, recorded output shapes) get an unknown batch size;
- `BatchNormWithGlobalNormalization`, which TensorFlow removed from graphs newer than version 8 and so rejects inside
  any tf.function, becomes the equivalent `FusedBatchNorm`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google.protobuf.message
import numpy as np
import tensorflow as tf

from sg3tf.metrics.detectors.files import DetectorError, PublishedFile, uint8_to_rgb, verified_digest
from sg3tf.utils.error_text import first_line

PUBLISHED = PublishedFile(
    "classify_image_graph_def.pb",
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
    size=88_931_400,
    archive="inception-2015-12-05.tgz",
)

# Tensor -> shape for one image; the network is recognized by the published widths.
SHAPES: dict[str, tuple[int, ...]] = {
    "ResizeBilinear:0": (299, 299, 3),
    "mixed_6/conv:0": (17, 17, 192),
    "pool_3:0": (1, 1, 2048),
    "softmax/logits/MatMul:0": (1008,),  # before the bias is added, as for StyleGAN's inception score
}
_INPUT = "ExpandDims:0"
_SPATIAL_CHANNELS = 7  # for sFID, Nash et al. 2021 (2103.03841)


class Inception(tf.Module):
    """Features for FID and KID ("pool"), the inception score ("logits") and sFID ("spatial")."""

    resize = "bilinear to 299x299, by the network's own graph"

    def __init__(self, graph: Any, digest: str) -> None:
        super().__init__("inception")
        self.digest = digest
        self._run = tf.function(
            lambda images: tf.graph_util.import_graph_def(
                graph, input_map={_INPUT: images}, return_elements=list(SHAPES), name=""
            ),
            input_signature=[tf.TensorSpec([None, None, None, 3])],
        )
        self.outputs = _check_outputs([tensor.shape for tensor in self._run.get_concrete_function().outputs])

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {output: float32 [N, D]} for images uint8 [N, H, W, 3] or [N, H, W, 1]; usable in a tf.function."""
        _, spatial, pool, logits = self._run(uint8_to_rgb(images))
        features = {"pool": pool, "logits": logits, "spatial": spatial[..., :_SPATIAL_CHANNELS]}
        return {name: tf.reshape(features[name], [-1, dim]) for name, dim in self.outputs.items()}


def load(folder: Path) -> Inception:
    """Load the network from `classify_image_graph_def.pb`.

    Raises:
        DetectorError: the file is not a frozen graph, or belongs to another network.
    """
    path = folder / PUBLISHED.name
    digest = verified_digest(path, PUBLISHED)
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
        return Inception(for_batches(graph), f"sha256:{digest}")
    except google.protobuf.message.DecodeError as error:
        raise DetectorError(f"{path}: not a frozen graph of TensorFlow ({error})") from error
    except (ValueError, tf.errors.OpError) as error:
        reason = first_line(error)[:200]
        raise DetectorError(f"{path}: detector file of the wrong network ({reason}); see {PUBLISHED.url}") from error


def for_batches(published: Any) -> Any:
    """Return the part of the published graph that SHAPES needs, with any number of images at `ExpandDims:0`."""
    graph = tf.compat.v1.GraphDef(versions=published.versions, node=_ancestors(published))
    nodes = {node.name: node for node in graph.node}
    for node in list(graph.node):
        node.attr.pop("_output_shapes", None)
        if node.op == "Reshape":
            _free_batch(nodes[node.input[1]])
        elif node.op == "BatchNormWithGlobalNormalization":
            _replace_batch_norm(node, graph)
    return graph


def _ancestors(graph: Any) -> list[Any]:
    """Return the nodes on which the input and the tensors of SHAPES depend, including themselves."""
    nodes = {node.name: node for node in graph.node}
    found: dict[str, Any] = {}
    pending = [name.removesuffix(":0") for name in (_INPUT, *SHAPES)]
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise DetectorError(f"it has no {name}")
        if name not in found:
            found[name] = nodes[name]
            pending += [source.removeprefix("^").split(":")[0] for source in nodes[name].input]
    return list(found.values())


def _free_batch(shape: Any) -> None:
    """Change a constant shape [1, ...] to one for any batch size."""
    values = tf.make_ndarray(shape.attr["value"].tensor) if shape.op == "Const" else np.zeros(0)
    if values.ndim != 1 or len(values) == 0 or values[0] != 1 or (values < 0).any():
        raise DetectorError(f"{shape.name} is not a constant shape of one image")
    shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([-1, *values[1:]], dtype=values.dtype))


def _replace_batch_norm(node: Any, graph: Any) -> None:
    """Rewrite (x, mean, variance, beta, gamma) -> gamma (x - mean) / sqrt(variance + epsilon) + beta in place."""
    x, mean, variance, beta, gamma = node.input
    if not node.attr["scale_after_normalization"].b:  # gamma is an input, but it is not used
        gamma = f"{node.name}/ones"
        graph.node.add(name=gamma, op="OnesLike", input=[mean]).attr["T"].type = node.attr["T"].type
    epsilon = node.attr["variance_epsilon"].f
    for name in ("variance_epsilon", "scale_after_normalization"):
        node.attr.pop(name, None)
    node.op = "FusedBatchNorm"
    node.input[:] = [x, gamma, beta, mean, variance]
    node.attr["epsilon"].f = epsilon
    node.attr["is_training"].b = False


def _check_outputs(shapes: list[tf.TensorShape]) -> dict[str, int]:
    """Return {output: features per image}; raise DetectorError if the tensors' shapes differ from SHAPES."""
    for (name, expected), shape in zip(SHAPES.items(), shapes, strict=True):
        if tuple(shape) != (None, *expected):
            raise DetectorError(f"{name} is {tuple(shape)}, not {(None, *expected)}")
    height, width, _ = SHAPES["mixed_6/conv:0"]
    return {
        "pool": SHAPES["pool_3:0"][-1],
        "logits": SHAPES["softmax/logits/MatMul:0"][-1],
        "spatial": height * width * _SPATIAL_CHANNELS,
    }
