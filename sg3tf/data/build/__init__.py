"""Build TFRecord data sets from image collections."""

from sg3tf.data.build.command import build
from sg3tf.data.conversion import BuildConfig

__all__ = ["BuildConfig", "build"]
