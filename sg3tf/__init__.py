"""StyleGAN3 for TensorFlow and Keras.

Names are imported on first use, so that parts that do not need TensorFlow (latents, images, data tools, the client of
a server) start fast. The models are registered with Keras, for keras.models.load_model, as soon as both packages are
imported, in either order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sg3tf.models import registration
from sg3tf.version import __version__

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
    "__version__",
    "build_generator",
    "images",
    "latents",
    "load",
    "metrics",
    "ops",
]

_MODULES = {
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

registration.install()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"sg3tf.{_MODULES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"sg3tf.{name}")
    raise AttributeError(f"module 'sg3tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
