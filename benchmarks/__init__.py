"""Benchmarks: programs that print JSON, without TensorFlow's start-up notices."""

from sg3tf.utils import startup_notices

startup_notices.hide()
