"""The machine that a benchmark runs on, and its peak speeds, measured together with the benchmark.

python -m benchmarks.machine prints both.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.utils.machine import num_cores

MATMUL_SIDE = 2048  # of the square matrices whose product is timed
TRIES = 5
GIGA = 1e9
CPU_INFO = Path("/proc/cpuinfo")


def about() -> dict[str, Any]:
    """Return a description of the machine and its load; times under load are upper bounds."""
    gpus = [
        tf.config.experimental.get_device_details(g).get("device_name") for g in tf.config.list_physical_devices("GPU")
    ]
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": num_cores(),
        "cpu": models[0] if models else platform.processor(),
        "gpus": gpus,
        "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
        "tensorflow": tf.__version__,
    }


def peaks() -> dict[str, float]:
    """Measure multiply-adds and copied bytes (read and written) per second, of one core and of all, for about a second.

    Raises:
        RuntimeError: there is no C++ compiler.
    """
    with _peaks_program() as program:
        output = subprocess.run([program, str(num_cores())], check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def matmul_gflop_per_second(dtype: str = "float32") -> float:
    """Measure the speed of a large matrix product in TensorFlow; the best of several."""
    a = tf.cast(tf.random.normal([MATMUL_SIDE, MATMUL_SIDE]), dtype)
    # The sum avoids timing the transfer of the result.
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    seconds(product)
    return 2 * MATMUL_SIDE**3 / min(seconds(product) for _ in range(TRIES)) / GIGA


def seconds(function: Callable[[], Any]) -> float:
    """Measure the seconds until the result of `function` is ready, excluding the time to free it."""
    start = time.perf_counter()
    result = function()
    tf.test.experimental.sync_devices()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


@contextlib.contextmanager
def _peaks_program() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peaks"
        program.write_bytes(_compiled_peaks())
        program.chmod(0o700)
        yield str(program)


@functools.cache
def _compiled_peaks() -> bytes:
    """Compile peaks.cc for this machine's processor, with all of its instruction sets."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise RuntimeError("no C++ compiler to measure the machine's peak speeds with: install g++, or set CXX")
    source = Path(__file__).with_name("peaks.cc")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peaks"
        options = ["-O3", "-std=c++20", "-march=native", "-pthread"]
        subprocess.run([compiler, *options, str(source), "-o", str(program)], check=True)
        return program.read_bytes()


if __name__ == "__main__":
    matmul = {dtype: round(matmul_gflop_per_second(dtype), 1) for dtype in ("float32", "bfloat16")}
    print(json.dumps({"machine": about(), "peaks": peaks(), "matmul_gflop_per_second": matmul}, indent=1))
