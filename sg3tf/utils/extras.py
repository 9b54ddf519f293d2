"""Packages that only some data need."""

from __future__ import annotations

import importlib
from types import ModuleType

from sg3tf.data.errors import DataError


def load_optional(package: str, extra: str, purpose: str) -> ModuleType:
    """Imports a package.

    Raises:
      DataError: it is not installed; the message says what wants it and names the extra of sg3tf that has it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0].replace("_", "-")
        raise DataError(f"{purpose} needs the package {name}: pip install 'sg3tf[{extra}]' ({error})") from error
