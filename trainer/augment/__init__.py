"""Adaptive augmentation of the discriminator's images (StyleGAN2-ADA, arXiv 2006.06676).

Names that need TensorFlow are loaded on first use, because parameters are also drawn where it is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainer.augment.heuristics import ADAPTIVE, INTERVAL, KIMG, KIMG_FROM_MODEL, SOURCES, TARGET
from trainer.augment.pipes import PIPE, PIPES

if TYPE_CHECKING:
    from trainer.augment.controller import Controller
    from trainer.augment.pipeline import Augment

__all__ = [
    "ADAPTIVE",
    "INTERVAL",
    "KIMG",
    "KIMG_FROM_MODEL",
    "PIPE",
    "PIPES",
    "SOURCES",
    "TARGET",
    "Augment",
    "Controller",
]

_MODULES = {"Controller": "controller", "Augment": "pipeline"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'trainer.augment' has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainer.augment.{_MODULES[name]}"), name)
