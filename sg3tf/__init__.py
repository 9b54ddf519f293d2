"""StyleGAN3 for TensorFlow and Keras.

Names are loaded when they are first used, so that what needs no TensorFlow (latents, images, data tools, the
serving client) starts in a moment. Where Keras is there already, the models are registered with it at once, so that
keras.models.load_model knows them; sg3tf.load always does.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from sg3tf.version import __version__ as __version__

if TYPE_CHECKING:
    from sg3tf import images, latents, metrics, ops
    from sg3tf.models.configs import ConfigError, DiscriminatorConfig, GeneratorConfig, StyleGAN1Config, StyleGAN2Config
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.generators import (
        Generator,
        StyleGAN1Generator,
        StyleGAN2Generator,
        StyleGAN3Generator,
        build_generator,
    )
    from sg3tf.models.loading import load

__all__ = [
    "ConfigError",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "StyleGAN1Config",
    "StyleGAN1Generator",
    "StyleGAN2Config",
    "StyleGAN2Generator",
    "StyleGAN3Generator",
    "build_generator",
    "images",
    "latents",
    "load",
    "metrics",
    "ops",
]

_HOME = {
    "ConfigError": "models.configs",
    "Discriminator": "models.discriminator",
    "DiscriminatorConfig": "models.configs",
    "Generator": "models.generators",
    "GeneratorConfig": "models.configs",
    "StyleGAN1Config": "models.configs",
    "StyleGAN1Generator": "models.generators",
    "StyleGAN2Config": "models.configs",
    "StyleGAN2Generator": "models.generators",
    "StyleGAN3Generator": "models.generators",
    "build_generator": "models.generators",
    "load": "models.loading",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"sg3tf.{_HOME[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"sg3tf.{name}")
    raise AttributeError(f"module 'sg3tf' has no attribute {name!r}")


if "keras" in sys.modules:
    for _module in ("models.generators", "models.discriminator"):
        importlib.import_module(f"sg3tf.{_module}")
