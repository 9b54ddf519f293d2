"""Export of a generator as a SavedModel version folder, validated before it appears."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import tensorflow as tf

import sg3tf
from serving import validate
from serving.signatures import TENSORS, Function, ServedGenerator
from serving.validate import validate_export
from sg3tf.models.configs import PRECISIONS
from sg3tf.utils.files import sync, sync_folder

#: Names, in PRECISIONS, of what an exported network may compute in.
EXPORT_PRECISIONS = ("fp32", "bf16")


def in_precision(generator: Any, precision: str) -> Any:
    """The generator itself where it computes so already, else a twin with the same weights.

    Args:
      generator: `sg3tf.Generator`, built.
      precision: "fp32" or "bf16".

    Raises:
      ValueError: another precision.
    """
    if precision not in EXPORT_PRECISIONS:
        raise ValueError(f"precision={precision!r}: use {' or '.join(map(repr, EXPORT_PRECISIONS))}")
    return generator.with_dtype(PRECISIONS[precision])


# ---------------------------------------------------------------------------------------------------------------------
# Where exported weights and the code that exports them come from, for the metadata of a version.
# ---------------------------------------------------------------------------------------------------------------------

_SNAPSHOT = re.compile(r"network-snapshot-(\d+)\.keras")


def of_weights(path: Path) -> dict[str, Any]:
    """How far and on what the generator at `path` was trained, as far as the files there say.

    Args:
      path: what `sg3tf.load` takes: run folder, checkpoint folder or .keras file.

    Returns:
      source: name of the file or folder; training_kimg, data_name, data_digest: None where not known.
    """
    path = path.resolve()
    if path.is_dir():
        path = max(path.glob("network-snapshot-*.keras"), default=path)
    # A snapshot lies in its run, a checkpoint two folders below.
    runs = [folder for folder in path.parents[:2] if (folder / "options.json").is_file()]
    options = _read(runs[0] / "options.json") if runs else {}
    return {
        "source": path.name if not runs else str(path.relative_to(runs[0].parent)),
        "training_kimg": _training_kimg(path),
        "data_name": options.get("data_name"),
        "data_digest": options.get("data_digest"),
    }


def _training_kimg(path: Path) -> float | None:
    if match := _SNAPSHOT.fullmatch(path.name):
        return float(match[1])
    folder = path if path.is_dir() else path.parent
    if not (folder / "progress.json").is_file():
        return None
    return _read(folder / "progress.json")["cur_nimg"] / 1000


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def code_revision() -> str | None:
    """Git revision of this project, with "-dirty" where files differ from it; None outside of a checkout."""
    folder = Path(sg3tf.__file__).parent
    # An installed copy may lie inside a checkout of something else, which does not track it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# Write a generator as a SavedModel version folder, whole or not at all.
# ---------------------------------------------------------------------------------------------------------------------


def export_saved_model(
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
    validate.check_batch_sizes(warmup_batch_sizes, max_batch, len(signatures))
    base = Path(model_base_path)
    base.mkdir(parents=True, exist_ok=True)
    unfinished = base / f".unfinished-{uuid.uuid4().hex}"
    try:
        # Nobody trains a served model, and gradients would be two fifths of its graph.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, str(unfinished), signatures=signatures, options=options)
        extra = unfinished / "assets.extra"
        extra.mkdir()
        requests = validate.requests(generator, warmup_batch_sizes)
        validate.write(extra / validate.FILE_NAME, requests)
        metadata = {
            **_describe(generator),
            **(described or {}),
            "max_batch": max_batch,
            "xla": xla,
            "signatures": {name: _describe_signature(function) for name, function in signatures.items()},
            "validation": validate_export(unfinished, validate.Source(generator, xla), requests),
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
        "code_revision": code_revision(),
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
