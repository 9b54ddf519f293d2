"""Load SavedModels for inference, and read the metadata of exports."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.utils.checksums import DIGESTS, verify_checksums
from sg3tf.utils.files import literal_folder

#: The file in a version folder that describes the export.
METADATA_FILE = "assets.extra/sg3tf.json"
#: The file in a version folder that TensorFlow Serving reads warm-up requests from.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def load(folder: Path) -> Any:
    """Return the SavedModel in a folder, whose name may be a pattern for TensorFlow, without gradients."""
    with no_gradient_warnings(), literal_folder(folder) as literal:
        return tf.saved_model.load(str(literal))


@contextlib.contextmanager
def no_gradient_warnings() -> Iterator[None]:
    """Suppress TensorFlow's warnings about unsaved custom gradients.

    Exports omit the operations' custom gradients, and TensorFlow warns about this for every function it loads, although
    inference needs none.
    """
    logger = logging.getLogger("absl")  # not tf.get_logger()
    logger.addFilter(_is_another_warning)
    try:
        yield
    finally:
        logger.removeFilter(_is_another_warning)


def require_intact(folder: Path) -> None:
    """Compare an export's files with its digests; TensorFlow has no checksum of the graph and its constants.

    Raises:
        OSError: a file is damaged.
    """
    if (folder / DIGESTS).exists() and (problem := verify_checksums(folder)):
        raise OSError(f"{folder}: {problem}; copy the folder again, or export the generator again")


def read_metadata(version_folder: Path) -> dict[str, Any] | None:
    """Return the metadata that `sg3tf export` wrote; None if this project did not export the version.

    Raises:
        OSError: the metadata cannot be read.
    """
    file = version_folder / METADATA_FILE
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(f"{file} is damaged: {error}; export the version again") from error


def _is_another_warning(record: logging.LogRecord) -> bool:
    return "unsaved custom gradients" not in record.getMessage()
