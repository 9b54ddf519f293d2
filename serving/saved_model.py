"""Export of a generator as a SavedModel version folder, validated before it appears."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import tensorflow as tf

import sg3tf
from serving import EXPORT_PRECISIONS
from serving.signatures import TENSORS, Function, ServedGenerator
from serving.validate import (
    ReferenceModel,
    check_batch_sizes,
    reference_requests,
    validate_export,
    write_warmup_requests,
)
from sg3tf.models.configs import PRECISIONS
from sg3tf.utils.checksums import write_checksums
from sg3tf.utils.files import errors_name_path, reject_remote, sync, sync_folder, temporary_folder
from sg3tf.utils.label_scale import LabelScale, labels_of_width
from sg3tf.utils.saved_models import METADATA_FILE, WARMUP_FILE


def export_saved_model(
    generator: Any,
    model_base_path: str | os.PathLike[str],
    *,
    precision: str = "fp32",
    license: str = "unspecified",
    max_batch: int | None = None,
    xla: bool = False,
    warmup_batch_sizes: Sequence[int] = (1,),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `generator` as the next version under `model_base_path`.

    The version appears atomically, after its validation, and existing versions are not touched. It is written to a
    sibling folder whose name is not a number, which TensorFlow Serving ignores, and renamed at the end.

    Args:
        generator: `sg3tf.Generator`, built.
        model_base_path: folder of the versions; created if it is missing.
        precision: "fp32" or "bf16", the precision of the four highest resolutions.
        license: license of the weights, for the metadata.
        max_batch: maximum number of images per request; None for no limit.
        xla: have the server compile the synthesis with XLA, once for every batch size.
        warmup_batch_sizes: batch sizes that a server warms up for and that the validation runs.
        metadata: further entries of the metadata, such as `training_provenance`.

    Returns:
        The new version folder. Its assets.extra/sg3tf.json describes the export.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the precision is unknown, or a batch size is out of range.
        ValidationError: a stock server could not load the export, or would compute something else.

    Examples:
        >>> import tempfile
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> export_saved_model(G, tempfile.mkdtemp()).name
        '1'
    """
    if max_batch is not None and max_batch < 1:
        raise ValueError(f"max_batch={max_batch}: give at least 1, or leave it out for no limit")
    generator = with_precision(generator, precision)
    given_scale = LabelScale.from_json((metadata or {}).get("label_scale"))
    classes, scale = labels_of_width(generator.config.label_dim, (metadata or {}).get("classes", ()), given_scale)
    served = ServedGenerator(generator, max_batch, xla, classes, scale)
    signatures = served.signatures()
    check_batch_sizes(warmup_batch_sizes, max_batch, len(signatures))
    reject_remote(model_base_path)
    base = Path(model_base_path)
    base.mkdir(parents=True, exist_ok=True)
    unfinished = base / f".unfinished-{uuid.uuid4().hex}"
    with errors_name_path(base, unfinished), temporary_folder(unfinished, ".unfinished-*"):
        # A served model is not trained, and gradients would make up two fifths of its graph.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, str(unfinished), signatures=signatures, options=options)
        (unfinished / WARMUP_FILE).parent.mkdir()
        requests = reference_requests(generator, warmup_batch_sizes, classes, scale)
        write_warmup_requests(unfinished / WARMUP_FILE, requests)
        description = {
            **model_metadata(generator),
            **(metadata or {}),
            "classes": list(classes),
            "label_scale": scale and scale.to_json(),
            "precision": precision,
            "license": license,
            "max_batch": max_batch,
            "xla": xla,
            "signatures": {name: _signature_metadata(function) for name, function in signatures.items()},
            "validation": validate_export(unfinished, ReferenceModel(generator, xla, classes, scale), requests),
        }
        (unfinished / METADATA_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        # Not the warm-up requests, which may be replaced by recorded ones.
        write_checksums(unfinished, ("saved_model.pb", "variables/*", METADATA_FILE))
        return _publish(unfinished, base)


def with_precision(generator: Any, precision: str) -> Any:
    """Return the generator itself if it already computes in `precision`, else a copy with the same weights.

    Args:
        generator: `sg3tf.Generator`, built.
        precision: "fp32" or "bf16".

    Raises:
        ValueError: the precision is unknown.
    """
    if precision not in EXPORT_PRECISIONS:
        raise ValueError(f"precision={precision!r}: give {' or '.join(EXPORT_PRECISIONS)}")
    return generator.with_dtype(PRECISIONS[precision])


def _publish(unfinished: Path, base: Path) -> Path:
    """Rename to the next free number, even if another process exports to the same folder."""
    sync_folder(unfinished)
    while True:
        taken = [int(entry.name) for entry in base.iterdir() if entry.name.isdecimal()]
        version = base / str(max(taken, default=0) + 1)
        try:
            # A folder cannot be renamed to one that is not empty, and no version is empty.
            unfinished.rename(version)
            sync(base)
            return version
        except OSError:
            if not version.exists():
                raise


# --- Metadata of a version: architecture, signatures, code revision ---------------------------------------------------


def code_revision() -> str | None:
    """Git revision of this project, with "-dirty" after local changes; None outside of a checkout."""
    folder = Path(sg3tf.__file__).parent
    # An installed copy may lie inside a checkout of another project, which does not track it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def model_metadata(generator: Any) -> dict[str, Any]:
    """Return the architecture, and the versions of the code that describe it."""
    packages = ("tensorflow", "keras", "numpy")
    return {
        "class": type(generator).__name__,
        "config": dataclasses.asdict(generator.config),
        "num_ws": generator.num_ws,
        "code_revision": code_revision(),
        "versions": {"sg3tf": sg3tf.__version__} | {name: package_version(name) for name in packages},
    }


def _signature_metadata(function: Function) -> dict[str, Any]:
    concrete = function.get_concrete_function()
    inputs = tf.nest.flatten(concrete.structured_input_signature)
    return {
        "inputs": {spec.name: _tensor_metadata(spec.name, spec) for spec in inputs},
        "outputs": {name: _tensor_metadata(name, spec) for name, spec in concrete.structured_outputs.items()},
    }


def _tensor_metadata(name: str, spec: tf.TensorSpec) -> dict[str, Any]:
    shape = spec.shape.as_list() if spec.shape.rank is not None else None
    return {"dtype": spec.dtype.name, "shape": shape, "meaning": TENSORS[name]}
