"""Precision of a run where none is given, by its devices, or by measurement."""

import os
import time

FASTER = 0.9  # share of the float32 time that bfloat16 may take at most; less gain is not worth its rounding


def default_precision(strategy: str) -> str:
    """Precision for the devices of --strategy: 16-bit arithmetic is faster on GPUs alone."""
    return "fp16" if _on_gpu(strategy) else "fp32"


def fastest_precision(strategy: str, sides: tuple[int, int], channels: int, batch: int) -> str:
    """Precision for the devices of --strategy: on a processor, bf16 where it computes faster in it than in fp32.

    One convolution, forward and backward, is timed in both, which takes a fraction of a second. Workers might
    come to different results, so that runs of several (TF_CONFIG) keep their default.

    Args:
        sides: height and width of the images.
        channels: channels of the layers of highest resolution.
        batch: images per replica, of which large images need only one for the comparison.
    """
    several_workers = strategy == "multiworker" or bool(os.environ.get("TF_CONFIG"))
    if several_workers or strategy.startswith("tpu") or _on_gpu(strategy):
        return default_precision(strategy)
    import tensorflow as tf  # here, so that --help is answered without it

    shape = [max(1, min(batch, 2**16 // (sides[0] * sides[1]))), *sides, channels]
    seconds = {"fp32": float("inf"), "bf16": float("inf")}
    with tf.device("CPU:0"):
        for _ in range(4):  # the first one prepares the operations; taking turns shares the noise of the machine
            for name, dtype in (("fp32", tf.float32), ("bf16", tf.bfloat16)):
                images, kernel = tf.ones(shape, dtype), tf.ones([3, 3, channels, channels], dtype)
                start = time.perf_counter()
                with tf.GradientTape() as tape:
                    tape.watch((images, kernel))
                    result = tf.nn.conv2d(images, kernel, 1, "SAME")
                for gradient in tape.gradient(result, (images, kernel)):
                    gradient.numpy()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return "bf16" if seconds["bf16"] < FASTER * seconds["fp32"] else "fp32"


def _on_gpu(strategy: str) -> bool:
    import tensorflow as tf

    return not strategy.startswith(("cpu", "tpu")) and bool(tf.config.list_physical_devices("GPU"))
