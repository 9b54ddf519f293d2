"""Write a generator as a SavedModel version folder, whole or not at all."""

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import tensorflow as tf

import sg3tf
from serving import canary, provenance, warmup
from serving.signatures import TENSORS, Function, ServedGenerator
from serving.validation import validate
from sg3tf.atomic import sync, sync_folder


def export(
    generator: Any,
    model_base_path: str | os.PathLike[str],
    *,
    max_batch: int | None = None,
    xla: bool = False,
    warmup_batch_sizes: Sequence[int] = (1,),
    described: Mapping[str, Any] | None = None,
) -> Path:
    """Write `generator` as the next version under `model_base_path`.

    The version appears whole, tried, or not at all, and no existing one is touched: it is written to a
    sibling whose name is not a number, which TensorFlow Serving overlooks, and renamed at the end.

    Args:
      generator: `sg3tf.Generator`, built.
      model_base_path: folder of the version folders; made where it is missing.
      max_batch: requests for more images than this are refused; None for any number.
      xla: have the server compile the synthesis with XLA, anew for every batch size.
      warmup_batch_sizes: numbers of images for which a server warms up, and the version is tried.
      described: further entries of the metadata.

    Returns:
      The new version folder. Its assets.extra/sg3tf.json says what was exported.

    Raises:
      OSError: the folder cannot be written.
      ValueError: an impossible batch size.
      ValidationError: what a stock server would load is not the model.
    """
    if max_batch is not None and max_batch < 1:
        raise ValueError(f"max_batch={max_batch}: give at least 1, or leave it out for any number")
    served = ServedGenerator(generator, max_batch, xla)
    signatures = served.signatures()
    warmup.check_batch_sizes(warmup_batch_sizes, max_batch, len(signatures))
    base = Path(model_base_path)
    base.mkdir(parents=True, exist_ok=True)
    unfinished = base / f".unfinished-{uuid.uuid4().hex}"
    try:
        # Nobody trains a served model, and gradients would be two fifths of its graph.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, str(unfinished), signatures=signatures, options=options)
        extra = unfinished / "assets.extra"
        extra.mkdir()
        requests = canary.requests(generator, warmup_batch_sizes)
        warmup.write(extra / warmup.FILE_NAME, requests)
        metadata = {
            **_describe(generator),
            **(described or {}),
            "max_batch": max_batch,
            "xla": xla,
            "signatures": {name: _describe_signature(function) for name, function in signatures.items()},
            "validation": validate(unfinished, canary.Source(generator, xla), requests),
        }
        (extra / "sg3tf.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        return _publish(unfinished, base)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, base: Path) -> Path:
    """Rename to the next free number, also when another exporter is taking numbers."""
    sync_folder(unfinished)
    while True:
        taken = [int(entry.name) for entry in base.iterdir() if entry.name.isdecimal()]
        version = base / str(max(taken, default=0) + 1)
        try:
            # A folder cannot be renamed onto a non-empty one, which every version is.
            unfinished.rename(version)
            sync(base)
            return version
        except OSError:
            if not version.exists():
                raise


def _describe(generator: Any) -> dict[str, Any]:
    packages = ("tensorflow", "keras", "numpy")
    return {
        "class": type(generator).__name__,
        "config": dataclasses.asdict(generator.config),
        "num_ws": generator.num_ws,
        "code_revision": provenance.code_revision(),
        "versions": {"sg3tf": sg3tf.__version__} | {p: version_of(p) for p in packages},
    }


def _describe_signature(function: Function) -> dict[str, Any]:
    concrete = function.get_concrete_function()
    inputs = tf.nest.flatten(concrete.structured_input_signature)
    return {
        "inputs": {spec.name: _describe_tensor(spec.name, spec) for spec in inputs},
        "outputs": {name: _describe_tensor(name, spec) for name, spec in concrete.structured_outputs.items()},
    }


def _describe_tensor(name: str, spec: tf.TensorSpec) -> dict[str, Any]:
    shape = spec.shape.as_list() if spec.shape.rank is not None else None
    return {"dtype": spec.dtype.name, "shape": shape, "meaning": TENSORS[name]}
