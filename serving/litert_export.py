"""Export of a generator as a LiteRT (TensorFlow Lite) file, validated before it appears."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from serving.saved_model import model_metadata, with_precision
from serving.single_file import FILE_TENSORS, check_arguments, file_requests, validate_file
from sg3tf import ops
from sg3tf.models.latent_ops import mix, truncate
from sg3tf.utils.files import atomic_path, literal_folder, scratch_folder
from sg3tf.utils.saved_models import no_gradient_warnings
from sg3tf.utils.startup_notices import filtered_stderr

#: File with the metadata, in the zip archive at the end of the file: LiteRT's place for associated files.
METADATA = "sg3tf.json"


def export_litert(
    generator: Any,
    out: str | os.PathLike[str],
    *,
    inputs: str = "z",
    license: str = "unspecified",
    batch_sizes: Sequence[int] = (1, 2),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `generator` as a LiteRT file of built-in operations, in float32 and with a free batch size N.

    With inputs="z", the inputs are z [N, z_dim], label [N, label_dim] (if there are labels), psi and cutoff [N], and
    transform [N, 3, 3] (if the generator takes one); the outputs are `images` [N, H, W, C] and `ws`
    [N, num_ws, w_dim]. With inputs="ws", the inputs are ws and transform, and the output is `images`. All inputs are
    required. The file has one signature, with these names.

    The file appears atomically, after LiteRT, in a process without this project, has reproduced the generator's
    results. An existing file is replaced.

    Args:
        generator: `sg3tf.Generator`, built.
        out: the file, NAME.tflite; its folder is created if it is missing.
        inputs: "z" for the whole generator, "ws" for the synthesis alone.
        license: license of the weights, for the metadata.
        batch_sizes: batch sizes that the validation runs.
        metadata: further entries of the metadata, such as `training_provenance`.

    Returns:
        The file. A zip archive at its end holds sg3tf.json, which describes the export.

    Raises:
        OSError: the file cannot be written.
        ValueError: the name or `inputs` is invalid.
        MissingExtraError: ai-edge-litert is not installed.
        ValidationError: LiteRT could not load the file, or computes something else.

    Examples:
        >>> import sg3tf, tempfile
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> export_litert(G, tempfile.mkdtemp() + "/generator.tflite").name
        'generator.tflite'
    """
    check_arguments(out, ".tflite", inputs, "ai_edge_litert", "litert")
    out = Path(out)
    generator = with_precision(generator, "fp32")
    requests = file_requests(generator, inputs, batch_sizes)
    function = _function(generator, inputs)
    model = _convert(generator, function)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as unfinished:
        unfinished.write_bytes(model)
        described = {
            **model_metadata(generator),
            **(metadata or {}),
            "precision": "fp32",
            "license": license,
            "inputs": _tensors(function.structured_input_signature[1]),
            "outputs": _tensors(function.structured_outputs),
            "validation": validate_file("ai_edge_litert", unfinished, generator, requests),
        }
        with zipfile.ZipFile(unfinished, "a") as archive:
            archive.writestr(METADATA, json.dumps(described))
    return out


def litert_model(generator: Any, inputs: str) -> bytes:
    """Return the content of the file of `generator`, whose inputs and outputs `export_litert` lists."""
    return _convert(generator, _function(generator, inputs))


def _function(generator: Any, inputs: str) -> Any:
    """Concrete function from inputs by name to outputs."""
    c = generator.config
    specs = {}
    if inputs == "z":
        specs["z"] = tf.TensorSpec([None, c.z_dim])
        if c.label_dim:
            specs["label"] = tf.TensorSpec([None, c.label_dim])
        specs |= {"psi": tf.TensorSpec([None]), "cutoff": tf.TensorSpec([None], tf.int64)}
    else:
        specs["ws"] = tf.TensorSpec([None, generator.num_ws, c.w_dim])
    if generator.supports_transform:
        specs["transform"] = tf.TensorSpec([None, 3, 3])

    def generate(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        ws = tensors["ws"] if inputs == "ws" else _map(generator, tensors)
        with ops.use_backend("matmul"):
            images = generator.synthesis(ws, transform=tensors.get("transform"))
        return {"images": images} if inputs == "ws" else {"images": images, "ws": ws}

    return tf.function(generate, autograph=False).get_concrete_function(**specs)


def _map(generator: Any, tensors: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Style vectors, each image with its own cutoff."""
    ws = generator.mapping(tensors["z"], tensors.get("label"))
    truncated = truncate(ws, generator.mapping_network.w_avg, tensors["psi"])
    is_truncated = tf.range(generator.num_ws, dtype=tf.int64) < tensors["cutoff"][:, tf.newaxis]
    return mix(ws, truncated, is_truncated)


def _convert(generator: Any, function: Any) -> bytes:
    """Freeze the variables and convert; raises for an operation that is not built into LiteRT."""
    module = tf.Module()  # TensorFlow can save a Keras model only together with its own functions
    module.weights = [variable.value for variable in generator.variables]
    # Gradients, which nothing here needs, would be two fifths of the graph.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with scratch_folder() as folder, no_gradient_warnings(), filtered_stderr():
        tf.saved_model.save(module, str(folder), signatures={"serving_default": function}, options=options)
        with literal_folder(folder) as literal:
            return tf.lite.TFLiteConverter.from_saved_model(str(literal)).convert()


def _tensors(specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    return {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list(), "meaning": FILE_TENSORS[name]}
        for name, spec in specs.items()
    }
