"""All generators: importing this module registers every class, with Keras and with `build_generator`."""

from __future__ import annotations

from sg3tf.models.base import BaseGenerator as Generator
from sg3tf.models.base import build_generator
from sg3tf.models.stylegan1 import StyleGAN1Generator
from sg3tf.models.stylegan2 import StyleGAN2Generator
from sg3tf.models.stylegan3 import StyleGAN3Generator

__all__ = ["Generator", "StyleGAN1Generator", "StyleGAN2Generator", "StyleGAN3Generator", "build_generator"]
