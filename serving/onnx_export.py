"""Export of a generator as an ONNX file, validated before it appears."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from serving import ONNX_WEIGHTS
from serving.onnx_graph import GraphWriter
from serving.onnx_networks import write_mapping, write_synthesis
from serving.saved_model import model_metadata, with_precision
from serving.single_file import FILE_TENSORS, check_arguments, file_requests, shared_request, validate_file
from serving.validate import root_mean_square
from sg3tf.utils.files import atomic_path
from sg3tf.utils.resolution import image_shape
from sg3tf.version import __version__

#: Key of the metadata in the file.
METADATA = "sg3tf"

#: OpenVINO defaults to bfloat16 on CPUs that support it, which makes images wrong by hundredths of their range.
OPENVINO_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}


def export_onnx(
    generator: Any,
    out: str | os.PathLike[str],
    *,
    inputs: str = "z",
    weights: str = "fp32",
    license: str = "unspecified",
    batch_sizes: Sequence[int] = (1, 2),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `generator` as an ONNX file that computes in float32, with a free batch size N.

    With inputs="z", the inputs are z [N, z_dim], label [N, label_dim] (if there are labels), psi and cutoff ([N] or
    [1]), and transform ([N, 3, 3] or [1, 3, 3], if the generator takes one); the outputs are `images` [N, H, W, C] and
    `ws` [N, num_ws, w_dim]. With inputs="ws", the inputs are ws and transform, and the output is `images`. All inputs
    are required.

    The file appears atomically, after ONNX Runtime, in a process without this project, has reproduced the generator's
    results. An existing file is replaced.

    Args:
        generator: `sg3tf.Generator`, built.
        out: the file, NAME.onnx; its folder is created if it is missing.
        inputs: "z" for the whole generator, "ws" for the synthesis alone.
        weights: "fp32", or "fp16" to store the kernels of dense layers and convolutions in 16 bits: half the file, and
            images that differ by up to two of 255 levels, in few pixels (docs/adr/0038).
        license: license of the weights, for the metadata.
        batch_sizes: batch sizes that the validation runs.
        metadata: further entries of the metadata, such as `training_provenance`.

    Returns:
        The file. The value of "sg3tf" in its metadata is JSON that describes the export.

    Raises:
        OSError: the file cannot be written.
        ValueError: the name, `inputs` or `weights` is invalid, or `generator` is not a generator of sg3tf.
        ValidationError: ONNX Runtime could not load the file, or computes something else.

    Examples:
        >>> import sg3tf, tempfile
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> export_onnx(G, tempfile.mkdtemp() + "/generator.onnx").name
        'generator.onnx'
    """
    check_arguments(out, ".onnx", inputs, "onnxruntime", "onnx")
    if weights not in ONNX_WEIGHTS:
        raise ValueError(f"weights={weights!r}: give {' or '.join(map(repr, ONNX_WEIGHTS))}")
    out = Path(out)
    generator = with_precision(generator, "fp32")
    model, num_kernels = _model(generator, inputs, weights)
    requests = file_requests(generator, inputs, batch_sizes) + [shared_request(generator, inputs, max(batch_sizes))]
    accuracy: dict[str, Any] = {}
    if weights == "fp16":
        accuracy = {"tolerance": _tolerance_of_fp16(num_kernels), "norm": root_mean_square}
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as unfinished:
        onnx.save_model(model, unfinished)
        described = {
            **model_metadata(generator),
            **(metadata or {}),
            "precision": "fp32",
            "weights": weights,
            "license": license,
            "openvino": OPENVINO_OPTIONS,
            "inputs": _tensors(model.graph.input),
            "outputs": _tensors(model.graph.output),
            "validation": validate_file("onnxruntime", unfinished, generator, requests, **accuracy),
        }
        onnx.helper.set_model_props(model, {METADATA: json.dumps(described)})
        onnx.save_model(model, unfinished)
    return out


def onnx_model(generator: Any, inputs: str) -> onnx.ModelProto:
    """Return the graph of `generator` in float32, whose inputs and outputs `export_onnx` lists."""
    return _model(generator, inputs, "fp32")[0]


def _tolerance_of_fp16(num_kernels: int) -> float:
    """Return twice the root mean square difference that rounded kernels explain, relative to that of the values.

    Rounding changes a weight, and so a sum of independent products, by at most a share of 2**-11, or 2**-11 / sqrt(3)
    in the root mean square. The differences of layers are independent, so their squares add up. The factor of two
    allows for amplification by layers. Single pixels at sharp edges differ by up to 29 times the mean (docs/adr/0038).
    """
    return 2 * (num_kernels / 3) ** 0.5 * 2**-11


def _model(generator: Any, inputs: str, weights: str) -> tuple[onnx.ModelProto, int]:
    """Return the graph, and the number of kernels in it."""
    c = generator.config
    graph = GraphWriter(np.float16 if weights == "fp16" else np.float32)
    if inputs == "z":
        z = graph.add_input("z", ["N", c.z_dim])
        label = graph.add_input("label", ["N", c.label_dim]) if c.label_dim else None
        psi = graph.add_input("psi", ["N_or_1_of_psi"])
        cutoff = graph.add_input("cutoff", ["N_or_1_of_cutoff"], onnx.TensorProto.INT64)
        ws = write_mapping(graph, generator, z, label, psi, cutoff)
    else:
        ws = graph.add_input("ws", ["N", generator.num_ws, c.w_dim])
    transform = None
    if generator.supports_transform:
        transform = graph.add_input("transform", ["N_or_1_of_transform", 3, 3])
    images = write_synthesis(graph, generator, ws, transform)
    graph.add_output("images", images, ["N", *image_shape(c.resolution, c.image_channels)])
    if inputs == "z":
        graph.add_output("ws", ws, ["N", generator.num_ws, c.w_dim])
    model = graph.model(type(generator).__name__)
    model.producer_name, model.producer_version = "sg3tf", __version__
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.doc_string = FILE_TENSORS[tensor.name]
    return model, graph.num_kernels


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> dict[str, Any]:
    return {value.name: _tensor(value) for value in values}


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    shape = [None if d.dim_param else d.dim_value for d in tensor.shape.dim]
    return {"dtype": dtype, "shape": shape, "meaning": value.doc_string}
