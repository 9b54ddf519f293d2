"""What a run uses of the machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import tensorflow as tf

GIGA = 2**30


def memory() -> dict[str, float]:
    """{name: gigabytes} of this process and, where there are GPUs, of the fullest of them since the last call."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA
    values = {"Resources/peak_cpu_mem_gb": peak}
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / GIGA
        values = {"Resources/cpu_mem_gb": now, "Resources/peak_cpu_mem_gb": max(now, peak)}  # the kernel's peak lags
    if peaks := [_peak_of_gpu(device.name) for device in tf.config.list_logical_devices("GPU")]:
        values["Resources/peak_gpu_mem_gb"] = max(peaks)
    return values


def _peak_of_gpu(name: str) -> float:
    peak = tf.config.experimental.get_memory_info(name)["peak"] / GIGA
    tf.config.experimental.reset_memory_stats(name)
    return peak
