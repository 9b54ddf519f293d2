"""All generators: importing this module registers every class for `build_generator`."""

from __future__ import annotations

from typing import Any

from sg3tf.models.ablation_layers import AblationGenerator
from sg3tf.models.base import BaseGenerator as Generator
from sg3tf.models.base import build_generator
from sg3tf.models.registration import register
from sg3tf.models.stylegan1 import StyleGAN1Generator
from sg3tf.models.stylegan2 import StyleGAN2Generator
from sg3tf.models.stylegan3 import StyleGAN3Generator

__all__ = [
    "AblationGenerator",
    "Generator",
    "StyleGAN1Generator",
    "StyleGAN2Generator",
    "StyleGAN3Generator",
    "build_generator",
]


@register("Generator")
class LegacyGenerator:
    """Class of StyleGAN3Generator and AblationGenerator in files written before they were separate classes."""

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("LegacyGenerator is read, but not written")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StyleGAN3Generator:
        fields = dict(config["config"])
        is_pyramid = fields.pop("pyramid", False)
        if is_pyramid:
            return AblationGenerator.from_config({**config, "config": fields})
        variant = {name: fields.pop(name, default) for name, default in _LEGACY_DEFAULTS.items()}
        if variant != _LEGACY_DEFAULTS:
            raise ValueError(f"{variant}: such a generator without a pyramid of sampling rates is no longer built")
        return StyleGAN3Generator.from_config({**config, "config": fields})


_LEGACY_DEFAULTS = {"transformed_input": True, "filtered": True, "bilinear": False}
