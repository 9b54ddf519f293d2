"""Adaptive augmentation of the discriminator's images (StyleGAN2-ADA, arXiv 2006.06676).

Augment is in `pipeline`, Controller in `controller`: they need TensorFlow, and the names here are also used where it is
not installed.
"""

from trainer.augment.heuristics import ADAPTIVE, INTERVAL, KIMG, KIMG_FROM_MODEL, SOURCES, TARGET
from trainer.augment.pipes import PIPE, PIPES

__all__ = ["ADAPTIVE", "INTERVAL", "KIMG", "KIMG_FROM_MODEL", "PIPE", "PIPES", "SOURCES", "TARGET"]
