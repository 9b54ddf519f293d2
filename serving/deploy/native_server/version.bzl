"""TensorFlow version of the build, which sg3tf/ops/native.py compares with its own; a server does not use it."""

TENSORFLOW_VERSION = "of TensorFlow Serving"
