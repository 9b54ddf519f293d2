"""Export of a generator as an ONNX file, validated before it appears."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from serving import ONNX_INPUTS
from serving.onnx_graph import GraphWriter
from serving.onnx_networks import write_mapping, write_synthesis
from serving.saved_model import model_metadata, with_precision
from serving.signatures import TENSORS
from serving.validate import ReferenceModel, Request, largest_difference, run_isolated
from sg3tf.latents import transform_matrix, z_from_seeds
from sg3tf.utils.files import atomic_path, refuse_remote
from sg3tf.utils.resolution import image_shape
from sg3tf.version import __version__

#: Key of the metadata in the file.
METADATA = "sg3tf"

#: OpenVINO's default is bfloat16 where the processor has it: images are off by hundredths of their range.
OPENVINO_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32"}

_MEANINGS = TENSORS | {
    "psi": "truncation: 1 for full variety, 0 for the average image; one number, or one per image",
    "cutoff": "number of style vectors to truncate, from the first; one number, or one per image",
    "transform": "inverse transform of the image in units of its width, applied before the learned one; "
    "one matrix, or one per image",
    "images": "NHWC; -1 black and 1 white, not clipped",
}


def export_onnx(
    generator: Any,
    out: str | os.PathLike[str],
    *,
    inputs: str = "z",
    license: str = "unspecified",
    batch_sizes: Sequence[int] = (1, 2),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `generator` as an ONNX file, in float32 and with a free batch size N.

    With inputs="z", the inputs are z [N, z_dim], label [N, label_dim] (if there are labels), psi and cutoff ([N] or
    [1]), and transform ([N, 3, 3] or [1, 3, 3], if the generator takes one); the outputs are `images` [N, H, W, C] and
    `ws` [N, num_ws, w_dim]. With inputs="ws", the inputs are ws and transform, and the output is `images`. All inputs
    are required.

    The file appears atomically, after ONNX Runtime has computed in a process without this project what the generator
    computes. An existing file is replaced.

    Args:
        generator: `sg3tf.Generator`, built.
        out: the file, NAME.onnx; its folder is created if it is missing.
        inputs: "z" for the whole generator, "ws" for the synthesis alone.
        license: license of the weights, for the metadata.
        batch_sizes: numbers of images that the validation asks for.
        metadata: further entries of the metadata, such as `training_provenance`.

    Returns:
        The file. The value of "sg3tf" in its metadata is JSON that describes the export.

    Raises:
        OSError: the file cannot be written.
        ValueError: another name, other inputs, or no generator of sg3tf.
        ValidationError: ONNX Runtime could not load the file, or computes something else.

    Examples:
        >>> import sg3tf, tempfile
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> export_onnx(G, tempfile.mkdtemp() + "/generator.onnx").name
        'generator.onnx'
    """
    refuse_remote(out)
    out = Path(out)
    if out.suffix != ".onnx":
        raise ValueError(f"out={str(out)!r}: give the name of a file that ends in .onnx")
    if inputs not in ONNX_INPUTS:
        raise ValueError(f"inputs={inputs!r}: give {' or '.join(map(repr, ONNX_INPUTS))}")
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(
            f"batch_sizes={','.join(map(str, batch_sizes))}: give at least one size, of at least one image"
        )
    generator = with_precision(generator, "fp32")
    model = onnx_model(generator, inputs)
    requests = _requests(generator, inputs, batch_sizes)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as unfinished:
        onnx.save_model(model, unfinished)
        described = {
            **model_metadata(generator),
            **(metadata or {}),
            "precision": "fp32",
            "license": license,
            "openvino": OPENVINO_OPTIONS,
            "inputs": _tensors(model.graph.input),
            "outputs": _tensors(model.graph.output),
            "validation": _validate(unfinished, generator, requests),
        }
        onnx.helper.set_model_props(model, {METADATA: json.dumps(described)})
        onnx.save_model(model, unfinished)
    return out


def onnx_model(generator: Any, inputs: str) -> onnx.ModelProto:
    """Return the graph of `generator`, whose inputs and outputs `export_onnx` lists."""
    c = generator.config
    graph = GraphWriter()
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
        tensor.doc_string = _MEANINGS[tensor.name]
    return model


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> dict[str, Any]:
    return {value.name: _tensor(value) for value in values}


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    shape = [None if d.dim_param else d.dim_value for d in tensor.shape.dim]
    return {"dtype": dtype, "shape": shape, "meaning": value.doc_string}


# --- Validation -------------------------------------------------------------------------------------------------------


def _requests(generator: Any, inputs: str, batch_sizes: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Inputs by name: of every batch size with a row of its own for each image, then with rows for all images."""
    rows = [_rows(generator, inputs, size, shared=False) for size in batch_sizes]
    return [*rows, _rows(generator, inputs, max(batch_sizes), shared=True)]


def _rows(generator: Any, inputs: str, size: int, shared: bool) -> dict[str, np.ndarray]:
    c = generator.config
    few = 1 if shared else size
    arrays = {"z": z_from_seeds(range(size), c.z_dim)}
    if c.label_dim:
        arrays["label"] = np.eye(c.label_dim, dtype=np.float32)[np.arange(size) % c.label_dim]
    arrays["psi"] = np.linspace(0.7, 0.5, few, dtype=np.float32)
    arrays["cutoff"] = (generator.num_ws // 2 + 3 * np.arange(few)) % (generator.num_ws + 1)
    if inputs == "ws":
        arrays = {"ws": _map(generator, arrays)}
    if generator.supports_transform:
        arrays["transform"] = np.stack([transform_matrix(0.3 + i, 0.1, -0.05 * i) for i in range(few)])
    return arrays


def _map(generator: Any, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Style vectors, each image with its own cutoff."""
    size = len(arrays["z"])
    psi, cutoff = (np.broadcast_to(arrays[name], size) for name in ("psi", "cutoff"))
    label = arrays.get("label")
    with tf.device("CPU"):
        each = [
            generator.mapping(
                arrays["z"][i : i + 1],
                None if label is None else label[i : i + 1],
                truncation_psi=psi[i : i + 1],
                truncation_cutoff=int(cutoff[i]),
            )
            for i in range(size)
        ]
    return np.concatenate(each)


def _expected(generator: Any, reference: ReferenceModel, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    ws = arrays["ws"] if "ws" in arrays else _map(generator, arrays)
    inputs = {"ws": ws}
    if "transform" in arrays:
        inputs["transform"] = np.broadcast_to(arrays["transform"], [len(ws), 3, 3])
    images = reference.predict(Request("synthesize_float", inputs))
    return images if "ws" in arrays else images | {"ws": ws}


def _validate(file: Path, generator: Any, requests: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Let ONNX Runtime answer the requests in a process without this project, and compare.

    Returns:
        Load time, latencies on this machine's CPU and the largest difference, for the metadata.
    """
    reference = ReferenceModel(generator, xla=False)
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "requests.npz", Path(scratch) / "answers.npz"
        named = {f"{i}/{name}": array for i, arrays in enumerate(requests) for name, array in arrays.items()}
        np.savez(asked, **named)  # type: ignore[arg-type]  # of its option allow_pickle
        timings = run_isolated("onnx_process.py", file.resolve(), asked, answered)
        with np.load(answered) as answers:
            found = [
                {key.partition("/")[2]: answers[key] for key in answers.files if key.startswith(f"{i}/")}
                for i in range(len(requests))
            ]
    batches = [len(next(iter(arrays.values()))) for arrays in requests]
    differences = [
        largest_difference(f"ONNX Runtime, batch {batch}", _expected(generator, reference, arrays), answer)
        for batch, arrays, answer in zip(batches, requests, found, strict=True)
    ]
    return {
        "device": "CPU",
        "onnxruntime": timings["onnxruntime"],
        "load_ms": timings["load_ms"],
        "latencies_ms": [
            {"batch": batch, "first": first, "second": second}
            for batch, (first, second) in zip(batches, timings["latencies_ms"], strict=True)
        ],
        "largest_difference": max(differences),
    }
