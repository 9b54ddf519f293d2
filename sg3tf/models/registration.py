"""Register the models with Keras under their names, whichever of Keras and sg3tf is imported first; imports neither.

A .keras file names its class ("sg3tf>Generator"), and Keras looks up that name among the registered classes. Importing
every model for this would make `import sg3tf` import TensorFlow. Instead, a stand-in is registered for each class as
soon as Keras is imported. It imports the class when a file needs it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sg3tf.utils.import_hook import Execute, ImportHook

PACKAGE = "sg3tf"
BACKEND = "tensorflow"

#: Registered name: module and class. "Generator" is the legacy name of StyleGAN3Generator and its ablations.
KERAS_NAMES = {
    "AblationGenerator": ("ablation_layers", "AblationGenerator"),
    "AblationLayer": ("ablation_layers", "AblationLayer"),
    "AdaINConv": ("stylegan1", "AdaINConv"),
    "Conv": ("layers", "EqualizedConv2D"),
    "Dense": ("layers", "EqualizedDense"),
    "Discriminator": ("discriminator", "Discriminator"),
    "DiscriminatorBlock": ("discriminator", "DiscriminatorBlock"),
    "FourierInput": ("layers", "FourierInput"),
    "Generator": ("generators", "LegacyGenerator"),
    "Mapping": ("layers", "MappingNetwork"),
    "MinibatchStddev": ("discriminator", "MinibatchStddev"),
    "StyleConv": ("stylegan2", "StyleConv"),
    "StyleGAN1Generator": ("stylegan1", "StyleGAN1Generator"),
    "StyleGAN2Generator": ("stylegan2", "StyleGAN2Generator"),
    "StyleGAN3Generator": ("stylegan3", "StyleGAN3Generator"),
    "SynthesisLayer": ("stylegan3", "SynthesisLayer"),
    "ToRGB": ("stylegan2", "ToRGB"),
}

AnyClass = TypeVar("AnyClass", bound=type)


def register(name: str, saved_as: str | None = None) -> Callable[[AnyClass], AnyClass]:
    """Return a class decorator that registers a class with Keras under `name`.

    For layers in lists, Keras derives the variable paths in a .keras file from the `__name__` of their class.
    `saved_as` becomes the __name__, so that files stay readable if the class is renamed in Python.

    Args:
        name: key of KERAS_NAMES.
        saved_as: None for `name`.
    """

    def decorate(cls: AnyClass) -> AnyClass:
        import keras

        cls.__name__ = saved_as or name
        return keras.saving.register_keras_serializable(PACKAGE, name)(cls)

    return decorate


class LazyClass:
    """Stand-in for a class of sg3tf.models, with the class attributes that Keras uses to restore an object."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Import the class, and create an object of it."""
        cls = getattr(importlib.import_module(f"{PACKAGE}.models.{self._module}"), self._name)
        return cls.from_config(config)


def install() -> None:
    """Register the models with Keras, now or when it is imported.

    From then on, importing Keras with a backend other than TensorFlow fails. `install` itself does not fail for a
    configured backend, so that a program can report it in one line.

    Raises:
        ImportError: Keras has already been imported with a backend other than TensorFlow.
    """
    if "keras" in sys.modules:
        _register_stand_ins()
    else:
        ImportHook("keras", _import_keras).install()


def check_backend(backend: str, source: str) -> None:
    """Raise ImportError unless the backend is TensorFlow; `source` is where it is configured."""
    if backend != BACKEND:
        raise ImportError(
            f"Keras backend {backend!r} ({source}): sg3tf needs TensorFlow; "
            f"set the environment variable KERAS_BACKEND={BACKEND} before Keras is imported"
        )


def _configured_backend() -> tuple[str, str]:
    """Return the backend that Keras will use, and where it is configured, by the rules of keras.src.backend.config."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend, "from KERAS_BACKEND"
    home = os.path.expanduser("~")  # Path.home() raises if there is none
    folder = os.environ.get("KERAS_HOME") or Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"
    file = Path(folder) / "keras.json"
    try:
        backend = json.loads(file.read_text(encoding="utf-8")).get("backend", BACKEND)
    except (OSError, ValueError):
        backend = BACKEND
    return backend, f"from {file}"


def _register_stand_ins() -> None:
    import keras

    check_backend(keras.config.backend(), "in use")
    known = keras.saving.get_custom_objects()
    for name, (module, cls) in KERAS_NAMES.items():
        known.setdefault(f"{PACKAGE}>{name}", LazyClass(module, cls))


def _import_keras(execute: Execute, module: ModuleType) -> None:
    """Check the backend, run the import of Keras, then register the models."""
    check_backend(*_configured_backend())
    execute(module)
    _register_stand_ins()
