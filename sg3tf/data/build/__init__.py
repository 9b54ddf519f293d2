"""Building data sets of TFRecords from other people's files."""

from sg3tf.data.build.command import build
from sg3tf.data.build.conversion import BuildConfig

__all__ = ["BuildConfig", "build"]
