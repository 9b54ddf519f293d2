"""StyleGAN3 for TensorFlow and Keras."""

from sg3tf import latents, ops
from sg3tf.config import ConfigError, DiscriminatorConfig, GeneratorConfig
from sg3tf.discriminator import Discriminator
from sg3tf.generator import Generator

__all__ = ["ConfigError", "Discriminator", "DiscriminatorConfig", "Generator", "GeneratorConfig", "latents", "ops"]
__version__ = "0.1.0"
