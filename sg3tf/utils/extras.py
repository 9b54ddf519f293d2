"""Optional packages, and the extra of sg3tf that installs each."""

from __future__ import annotations

import importlib
from types import ModuleType

#: Import names of packages imported without `require`, and the extra that installs each.
EXTRAS = {
    "grpc": "serve",
    "grpc_health": "serve",
    "onnx": "onnx",
    "prometheus_client": "serve",
    "tensorflow_serving": "serve",
    "tqdm": "train",
}


class MissingExtraError(ModuleNotFoundError):
    """A package needed by a feature is not installed; the message names the extra that installs it."""


def require(package: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: import name, such as "imageio_ffmpeg".
        extra: the extra in pyproject.toml that installs it.
        purpose: subject of the error message, such as "writing walk.mp4".

    Raises:
        MissingExtraError: the package cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0].replace("_", "-")
        raise MissingExtraError(
            f"{purpose} needs the package {name}: pip install 'sg3tf[{extra}]' ({error})"
        ) from error


def remedy(error: ModuleNotFoundError) -> str:
    """Return the command that installs the extra with the missing package; "" if no extra has it."""
    package = (error.name or "").partition(".")[0]
    return f"pip install 'sg3tf[{EXTRAS[package]}]'" if package in EXTRAS else ""
