"""Where a run computes: --strategy to a tf.distribute.Strategy."""

from __future__ import annotations

import re

import tensorflow as tf

from trainer.options import OptionError

HELP = "auto, mirrored (all GPUs), gpu:K (one), cpu, or cpu:N (N logical devices, for tests)"


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy that `name` stands for; call once per process, before any other use of TensorFlow.

    TensorFloat-32 is switched off: its ten bits of mantissa are not what the published networks were trained with.

    Raises:
        OptionError: unknown name, or a device that is not there.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # It fails on these graphs' gradients, says so at every start, and would only fuse biases.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if name == "auto":
        name = {0: "cpu", 1: "gpu:0"}.get(len(gpus), "mirrored")
    if name == "mirrored":
        if not gpus:
            raise OptionError("--strategy=mirrored: TensorFlow sees no GPU; use --strategy=cpu")
        return tf.distribute.MirroredStrategy()
    match = re.fullmatch(r"(gpu|cpu)(?::(\d+))?", name)
    if not match:
        raise OptionError(f"--strategy={name}: use {HELP}")
    kind, number = match[1], match[2]
    if kind == "gpu":
        if int(number or 0) >= len(gpus):
            raise OptionError(f"--strategy={name}: TensorFlow sees {len(gpus)} GPUs")
        return tf.distribute.OneDeviceStrategy(f"/gpu:{number or 0}")
    if gpus:
        tf.config.set_visible_devices([], "GPU")
    if number and not int(number):
        raise OptionError(f"--strategy={name}: use cpu, or cpu:N for N logical devices, N at least 1")
    return _logical_cpus(int(number or 1))


def _logical_cpus(count: int) -> tf.distribute.Strategy:
    if count == 1:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return tf.distribute.MirroredStrategy(
        [f"/cpu:{index}" for index in range(count)],
        # The default communication cannot feed Keras optimizers on logical CPUs.
        cross_device_ops=tf.distribute.HierarchicalCopyAllReduce(),
    )
