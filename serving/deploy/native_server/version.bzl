"""What sg3tf/ops/native.py would compare with its own TensorFlow; a server has no need of it."""

TENSORFLOW_VERSION = "of TensorFlow Serving"
