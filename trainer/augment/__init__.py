"""Adaptive augmentation of the discriminator's images (StyleGAN2-ADA, arXiv 2006.06676)."""

from trainer.augment.controller import INTERVAL, KIMG, KIMG_FROM_MODEL, SOURCES, TARGET, Controller
from trainer.augment.pipeline import PIPE, PIPES, Augment

__all__ = ["INTERVAL", "KIMG", "KIMG_FROM_MODEL", "PIPE", "PIPES", "SOURCES", "TARGET", "Augment", "Controller"]
