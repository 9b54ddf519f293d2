"""Inputs of generators exported as a single ONNX or LiteRT file, and the validation before the file appears."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving import FILE_INPUTS
from serving.signatures import TENSORS
from serving.validate import TOLERANCE, ReferenceModel, Request, largest, largest_difference, run_isolated
from sg3tf.latents import labels_in_turn, transform_matrix, z_from_seeds
from sg3tf.utils.extras import require
from sg3tf.utils.files import reject_remote, scratch_folder

Arrays = dict[str, np.ndarray]

#: Descriptions of the tensors for the metadata.
FILE_TENSORS = TENSORS | {
    "psi": "truncation: 1 for full variety, 0 for the average image; one number, or one per image",
    "cutoff": "number of style vectors to truncate, from the first; one number, or one per image",
    "transform": "inverse transform of the image in units of its width, applied before the learned one; "
    "one matrix, or one per image",
    "images": "NHWC; -1 black and 1 white, not clipped",
}


def check_arguments(out: str | os.PathLike[str], suffix: str, inputs: str, runtime: str, extra: str) -> None:
    """Raise early for arguments that would make the export fail at its end.

    Args:
        out: the file to write.
        suffix: required end of its name.
        inputs: "z" or "ws".
        runtime: package that the validation needs.
        extra: extra of sg3tf that installs it.

    Raises:
        ValueError: the name or `inputs` is invalid, or the file cannot be written to that address.
        MissingExtraError: the package is not installed.
    """
    reject_remote(out)
    if Path(out).suffix != suffix:
        raise ValueError(f"out={str(out)!r}: give the name of a file that ends in {suffix}")
    if inputs not in FILE_INPUTS:
        raise ValueError(f"inputs={inputs!r}: give {' or '.join(map(repr, FILE_INPUTS))}")
    require(runtime, extra=extra, purpose=f"writing {out}")


def file_requests(generator: Any, inputs: str, batch_sizes: Sequence[int]) -> list[Arrays]:
    """Return inputs by name for every batch size. `psi`, `cutoff` and `transform` differ between images.

    Args:
        generator: `sg3tf.Generator`, built.
        inputs: "z" for the whole generator, "ws" for the synthesis alone.
        batch_sizes: numbers of images.

    Raises:
        ValueError: there is no size, or one is below 1.
    """
    if not batch_sizes or min(batch_sizes) < 1:
        raise ValueError(
            f"batch_sizes={','.join(map(str, batch_sizes))}: give at least one size, of at least one image"
        )
    return [_request(generator, inputs, size, rows=size) for size in batch_sizes]


def shared_request(generator: Any, inputs: str, size: int) -> Arrays:
    """Return inputs by name for `size` images, with one row of `psi`, `cutoff` and `transform` for all of them."""
    return _request(generator, inputs, size, rows=1)


def _request(generator: Any, inputs: str, size: int, rows: int) -> Arrays:
    c = generator.config
    arrays = {"z": z_from_seeds(range(size), c.z_dim)}
    if c.label_dim:
        arrays["label"] = labels_in_turn(size, c.label_dim)
    arrays["psi"] = np.linspace(0.7, 0.5, rows, dtype=np.float32)
    arrays["cutoff"] = (generator.num_ws // 2 + 3 * np.arange(rows)) % (generator.num_ws + 1)
    if inputs == "ws":
        arrays = {"ws": _map(generator, arrays)}
    if generator.supports_transform:
        arrays["transform"] = np.stack([transform_matrix(0.3 + i, 0.1, -0.05 * i) for i in range(rows)])
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


def _expected(generator: Any, reference: ReferenceModel, arrays: Mapping[str, np.ndarray]) -> Arrays:
    ws = arrays["ws"] if "ws" in arrays else _map(generator, arrays)
    inputs = {"ws": ws}
    if "transform" in arrays:
        inputs["transform"] = np.broadcast_to(arrays["transform"], [len(ws), 3, 3])
    images = reference.predict(Request("synthesize_float", inputs))
    return images if "ws" in arrays else images | {"ws": ws}


def validate_file(
    runtime: str,
    file: Path,
    generator: Any,
    requests: Sequence[Mapping[str, np.ndarray]],
    tolerance: float = TOLERANCE,
    norm: Callable[[np.ndarray], float] = largest,
) -> dict[str, Any]:
    """Have a runtime answer the requests in a process without this project, and compare.

    Args:
        runtime: package of the runtime: "onnxruntime" or "ai_edge_litert".
        file: the exported file.
        generator: generator that the file was exported from.
        requests: inputs by name.
        tolerance, norm: as for `largest_difference`.

    Returns:
        The runtime's version, load time, latencies on this machine's CPU and the largest difference, for the metadata.

    Raises:
        ValidationError: the runtime cannot load the file, or computes something else.
    """
    reference = ReferenceModel(generator, xla=False)
    with scratch_folder() as scratch:
        asked, answered = scratch / "requests.npz", scratch / "answers.npz"
        named = {f"{i}/{name}": array for i, arrays in enumerate(requests) for name, array in arrays.items()}
        np.savez(asked, **named)  # type: ignore[arg-type]  # of its option allow_pickle
        timings = run_isolated("file_process.py", runtime, file.resolve(), asked, answered)
        with np.load(answered) as answers:
            found = [
                {key.partition("/")[2]: answers[key] for key in answers.files if key.startswith(f"{i}/")}
                for i in range(len(requests))
            ]
    batches = [len(next(iter(arrays.values()))) for arrays in requests]
    differences = [
        largest_difference(
            f"{runtime}, batch {batch}", _expected(generator, reference, arrays), answer, tolerance, norm
        )
        for batch, arrays, answer in zip(batches, requests, found, strict=True)
    ]
    return {
        "device": "CPU",
        runtime: timings["version"],
        "load_ms": timings["load_ms"],
        "latencies_ms": [
            {"batch": batch, "first": first, "second": second}
            for batch, (first, second) in zip(batches, timings["latencies_ms"], strict=True)
        ],
        f"{norm.__name__}_difference": max(differences),
    }
