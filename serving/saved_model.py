"""Write a generator as a SavedModel version folder, whole or not at all."""

import dataclasses
import json
import os
import shutil
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

import sg3tf
from serving.signatures import ServedGenerator


def export(generator: Any, model_base_path: str | os.PathLike[str]) -> Path:
    """Write `generator` as the next version under `model_base_path`.

    The version appears whole or not at all, and no existing one is touched: it is written to a
    sibling whose name is not a number, which TensorFlow Serving overlooks, and renamed at the end.

    Args:
      generator: `sg3tf.Generator`, built.
      model_base_path: folder of the version folders; made where it is missing.

    Returns:
      The new version folder. Its assets.extra/sg3tf.json says what was exported.

    Raises:
      OSError: the folder cannot be written.
    """
    base = Path(model_base_path)
    base.mkdir(parents=True, exist_ok=True)
    unfinished = base / f".unfinished-{uuid.uuid4().hex}"
    try:
        served = ServedGenerator(generator)
        # Nobody trains a served model, and gradients would be two fifths of its graph.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, str(unfinished), signatures=served.signatures(), options=options)
        extra = unfinished / "assets.extra"
        extra.mkdir()
        text = json.dumps(_describe(generator), indent=2)
        (extra / "sg3tf.json").write_text(text + "\n", encoding="utf-8")
        return _publish(unfinished, base)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, base: Path) -> Path:
    """Rename to the next free number, also when another exporter is taking numbers."""
    while True:
        taken = [int(entry.name) for entry in base.iterdir() if entry.name.isdecimal()]
        version = base / str(max(taken, default=0) + 1)
        try:
            # A folder cannot be renamed onto a non-empty one, which every version is.
            return unfinished.rename(version)
        except OSError:
            if not version.exists():
                raise


def _describe(generator: Any) -> dict[str, Any]:
    packages = ("tensorflow", "keras", "numpy")
    return {
        "class": type(generator).__name__,
        "config": dataclasses.asdict(generator.config),
        "num_ws": generator.num_ws,
        "versions": {"sg3tf": sg3tf.__version__} | {p: metadata.version(p) for p in packages},
    }
