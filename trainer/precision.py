"""Default precision of a run, by its devices or by measurement."""

import os
import time

FASTER = 0.9  # use bfloat16 only below this share of float32's time; a smaller gain is not worth its rounding


def default_precision(strategy: str) -> str:
    """Precision for the devices of --strategy: only GPUs are generally faster in 16-bit arithmetic."""
    return "fp16" if _on_gpu(strategy) else "fp32"


def fastest_precision(strategy: str, sides: tuple[int, int], channels: int, batch: int) -> str:
    """Precision for the devices of --strategy; on a CPU, bf16 if it is measured to be faster than fp32.

    The forward and backward pass of one convolution is timed in both, which takes a fraction of a second. Runs with
    several workers (TF_CONFIG) keep their default, because workers might get different results.

    Args:
        sides: height and width of the images.
        channels: channels of the layers of highest resolution.
        batch: images per replica; the comparison uses fewer if the images are large.
    """
    several_workers = strategy == "multiworker" or bool(os.environ.get("TF_CONFIG"))
    if several_workers or strategy.startswith("tpu") or _on_gpu(strategy):
        return default_precision(strategy)
    import tensorflow as tf  # not at the top, so that --help does not load it

    shape = [max(1, min(batch, 2**16 // (sides[0] * sides[1]))), *sides, channels]
    seconds = {"fp32": float("inf"), "bf16": float("inf")}
    with tf.device("CPU:0"):
        for _ in range(4):  # the first one is a warm-up; alternating exposes both to the same noise of the machine
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
