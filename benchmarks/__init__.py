"""Benchmarks: programs that print JSON, without TensorFlow's startup messages."""

from sg3tf.utils import startup_notices

startup_notices.hide()
