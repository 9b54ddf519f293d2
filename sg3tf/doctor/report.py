"""The doctor's report: one line per fact, and one per test of the native operations."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sg3tf.models.layers import full_conv
from sg3tf.ops import backend, cuda, filtered_lrelu, native, scale_channels, sum_pixels, upfirdn2d
from sg3tf.utils.error_text import first_line
from sg3tf.utils.errors import ExpectedError
from sg3tf.utils.machine import num_cores
from sg3tf.version import __version__

#: Relative error of a value or gradient that rounding explains, by dtype: from sums, or of a 16-bit result.
TOLERANCES = {tf.float32: 1e-5, tf.bfloat16: 1e-2}
#: The same for layers on a GPU. In 16 bits, samples near 0 may get the slope of the other side on tensor cores.
GPU_TOLERANCES = {tf.float32: 1e-5, tf.bfloat16: 1e-2, tf.float16: 5e-3}

# Linux's names for the features of x86-64-v3 and -v4.
_AVX2 = set(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])
_AVX512 = _AVX2 | set(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])

_SHAPE = (2, 21, 18, 19)  # no size is a multiple of vector, tile or mask word sizes
_LAYER = (8, 148, 148, 512)  # a layer of StyleGAN3-T-256
_TAPS = np.hanning(14)[1:-1] / 6

Operation = Callable[[tf.Tensor, str], tf.Tensor]


def report() -> Iterator[str]:
    """Yield the lines of the report; lines about failures start with FAILED."""
    python = platform.python_version()
    yield f"sg3tf {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}, " + (
        f"NumPy {np.__version__}, Python {python}"
    )
    yield f"devices      {', '.join(_device(d) for d in tf.config.list_physical_devices())}"
    yield f"processor    {_processor()}"
    gpus = tf.config.list_physical_devices("GPU")
    yield f"GPU          {_gpu_driver(bool(gpus))}"
    try:
        yield f"auto means   {_choice()}"
        reason = native.unavailable_reason(native.FOLDER)
    except (ExpectedError, ValueError) as error:
        yield f"FAILED       {error}"
        return
    if reason:
        yield f"library      none: {reason}: {native.REMEDY}"
        yield "self-test    nothing to test"
        return
    yield f"library      {_library()}"
    yield f"  for XLA    {_library_for_xla()}"
    if gpus:
        yield f"  for GPUs   {_library_for_gpus()}"
    yield "self-test    relative errors against stock operations in float64"
    for name, operation in _OPERATIONS.items():
        for dtype in TOLERANCES:
            for compiled in (False, True) if name in _UNDER_XLA else (False,):
                title = f"{name:15}{dtype.name:9}{'jit_compile' if compiled else '':12}"
                yield _test(title, operation, TOLERANCES[dtype], dtype, compiled)
    if gpus:
        yield from _layer_tests()
        yield _time_layer()


def _layer_tests() -> Iterator[str]:
    """Yield a line about each kind of layer that has a CUDA kernel of its own."""
    for name, (channels, operation) in _LAYERS.items():
        for dtype, tolerance in GPU_TOLERANCES.items():
            title = f"{name:27}{dtype.name:9}"
            yield _test(title, operation, tolerance, dtype, shape=(2, 36, 36, channels))


def _device(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device)
    words = [device.name.removeprefix("/physical_device:")]
    if "device_name" in details:
        words.append(details["device_name"])
    if "compute_capability" in details:
        words.append("(compute capability {}.{})".format(*details["compute_capability"]))
    return " ".join(words)


def _processor() -> str:
    model, flags = platform.processor() or platform.machine(), set[str]()
    facts = Path("/proc/cpuinfo")
    for line in facts.read_text().splitlines() if facts.is_file() else ():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            model = value
        elif key == "flags":
            flags = set(value.split())
    chosen = instruction_set(flags, os.environ.get("SG3TF_ISA"))
    return f"{model}, {num_cores()} threads; kernels for {chosen}"


def instruction_set(flags: set[str], at_most: str | None) -> str:
    """Return the instruction set that the kernels select (custom_ops/resampling/cpu/isa.cc).

    Args:
        flags: the processor's flags in /proc/cpuinfo.
        at_most: value of SG3TF_ISA.
    """
    chosen = "avx512" if flags >= _AVX512 else "avx2" if flags >= _AVX2 else "baseline"
    order = native.INSTRUCTION_SETS
    return min(chosen, at_most, key=order.index) if at_most in order else chosen


def _choice() -> str:
    setting = os.environ.get(backend.VARIABLE)
    return (
        f"{backend.select_backend(None)}, and {backend.training_backend()} in a training run "
        f"({backend.VARIABLE}{f'={setting}' if setting else ' is not set'})"
    )


def _library() -> str:
    return f"{native.FOLDER / native.OPERATIONS}, for TensorFlow {native.built_for(native.FOLDER)}"


def _library_for_xla() -> str:
    library = native.FOLDER / native.XLA
    reason = native.xla_unavailable_reason(library)
    return f"{reason}: stock operations under jit_compile until `make native`" if reason else str(library)


def _gpu_driver(has_gpus: bool) -> str:
    version = cuda.driver_version()
    if version == (0, 0):
        return "none: there is no NVIDIA driver"
    driver = " ".join(["driver", cuda.driver_name(), f"for CUDA {version[0]}.{version[1]}"]).replace("  ", " ")
    return driver if has_gpus else f'{driver}, but TensorFlow finds no GPU: pip install "sg3tf[cuda]"'


def _library_for_gpus() -> str:
    native.operations()
    library = native.FOLDER / native.OPERATIONS
    folder = cuda.cache_folder(library)
    sizes = [file.stat().st_size for file in folder.glob("*.cubin")] if folder else []
    cached = f"{len(sizes)} kernels ({sum(sizes) / 1e6:.1f} MB) in {folder}" if folder else "no folder for kernels"
    return f"{cuda.compiler(library)}; {cached}"


def _time_layer() -> str:
    """Time a layer of StyleGAN3-T-256 on the first GPU; the first call compiles its kernel, unless it is cached."""
    title = f"filtered_lrelu of {' x '.join(map(str, _LAYER))}, float16"
    try:
        with tf.device("GPU:0"):
            if "GPU" not in (device := tf.zeros([]).device):  # soft placement silently uses another device
                raise RuntimeError(f"TensorFlow computes on {device}")
            first_seconds, seconds = time_layer(tf.cast(tf.random.stateless_normal(_LAYER, [0, 0]), tf.float16))
    except Exception as error:  # report any error instead of the result
        return f"FAILED       {title} {type(error).__name__}: {first_line(error)}"
    return f"layer        {title}: {seconds * 1e3:.2f} ms, the first time {first_seconds:.2f} s"


def time_layer(x: tf.Tensor, repeats: int = 20) -> tuple[float, float]:
    """Return the time in seconds of the first filtered leaky ReLU of x, and the mean time of later calls."""

    def seconds(times: int) -> float:
        tf.test.experimental.sync_devices()
        start = time.perf_counter()
        for _ in range(times):
            _filtered_lrelu(x, "native")
        tf.test.experimental.sync_devices()
        return (time.perf_counter() - start) / times

    return seconds(1), seconds(repeats)


def _upfirdn2d(x: tf.Tensor, impl: str) -> tf.Tensor:
    return upfirdn2d(x, _TAPS, up=3, down=2, pad=(7, 4, -2, 9), impl=impl)


def _filtered_lrelu(x: tf.Tensor, impl: str) -> tf.Tensor:
    # The bias is part of x, so that the gradient of x includes its gradient.
    return filtered_lrelu(x, _TAPS, _TAPS, x[0, 0, 0], up=2, down=2, pad=(9, 10, 9, 10), clamp=0.8, impl=impl)


def _layer(up: int, down: int, radial: bool = False) -> Operation:
    """Return the nonlinearity of a synthesis layer with filters of 6 taps per unit of its factors."""
    up_taps, down_taps = (np.hanning(6 * factor + 2)[1:-1] / 3 for factor in (up, down))
    if radial:
        distance = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, len(down_taps))] * 2))
        down_taps = np.cos(np.minimum(distance, 1) * np.pi / 2) / 36
    pad = (3 * up, 3 * up, 3 * up, 3 * up)

    def operation(x: tf.Tensor, impl: str) -> tf.Tensor:
        return filtered_lrelu(x, up_taps, down_taps, x[0, 0, 0], up=up, down=down, pad=pad, clamp=0.8, impl=impl)

    return operation


def _to_rgb(x: tf.Tensor, impl: str) -> tf.Tensor:
    return filtered_lrelu(x, None, None, x[0, 0, 0], slope=1, gain=1, clamp=0.8, impl=impl)


def _resample(taps: int, up: int = 1, down: int = 1) -> Operation:
    filter_taps, pad = np.hanning(taps + 2)[1:-1] / taps, (taps // 2,) * 4
    return lambda x, impl: upfirdn2d(x, filter_taps, up=up, down=down, pad=pad, impl=impl)


def _scale_channels(x: tf.Tensor, impl: str) -> tf.Tensor:
    return scale_channels(x, x[:, 0, 0], impl=impl)


def _sum_pixels(x: tf.Tensor, impl: str) -> tf.Tensor:
    return tf.cast(sum_pixels(x, x, impl=impl), x.dtype)


def _convolution(x: tf.Tensor, impl: str) -> tf.Tensor:
    channels = _SHAPE[-1]
    kernel = np.sin(np.arange(9 * channels**2)).reshape(3, 3, channels, channels) / (9 * channels) ** 0.5
    with backend.use_backend(impl):
        return full_conv(x, tf.constant(kernel, tf.float32))


_OPERATIONS: dict[str, Operation] = {
    "upfirdn2d": _upfirdn2d,
    "filtered_lrelu": _filtered_lrelu,
    "scale_channels": _scale_channels,
    "sum_pixels": _sum_pixels,
    "convolution": _convolution,
}
#: Channels and operation, by name.
_LAYERS: dict[str, tuple[int, Operation]] = {
    "layer 2, 2": (32, _layer(2, 2)),
    "layer 2, 2 of 22 channels": (22, _layer(2, 2)),
    "layer 4, 2": (32, _layer(4, 2)),
    "radial layer": (32, _layer(2, 2, radial=True)),
    "ToRGB": (3, _to_rgb),
    "upsampling": (32, _resample(4, up=2)),
    "downsampling": (32, _resample(4, down=2)),
    "upsampled image": (3, _resample(12, up=2)),
    "blurred image": (3, _resample(61)),
}
_UNDER_XLA = ("upfirdn2d", "filtered_lrelu")  # under XLA, the others are stock operations


def _test(
    title: str,
    operation: Operation,
    tolerance: float,
    dtype: tf.DType,
    compiled: bool = False,
    shape: tuple[int, ...] = _SHAPE,
) -> str:
    try:
        errors = self_test(operation, dtype, compiled, shape)
    except Exception as error:  # report any error instead of the result
        return f"FAILED       {title} {type(error).__name__}: {first_line(error)}"
    good = all(error <= tolerance for error in errors)  # NaN is not
    return f"{'  ok' if good else 'FAILED':12} {title} value {errors[0]:.1e}   gradient {errors[1]:.1e}"


def self_test(
    operation: Operation, dtype: tf.DType, compiled: bool, shape: tuple[int, ...] = _SHAPE
) -> tuple[float, float]:
    """Return the relative errors of the value and of the gradient of a native operation."""
    x = tf.cast(tf.random.stateless_normal(shape, [0, 0]), dtype)
    dy = tf.cast(tf.random.stateless_normal(operation(x, "matmul").shape, [0, 1]), dtype)

    def both(x: tf.Tensor, dy: tf.Tensor, impl: str) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = operation(x, impl)
        return y, tape.gradient(y, x, dy)

    exact = both(tf.cast(x, tf.float64), tf.cast(dy, tf.float64), "matmul")
    if compiled:  # trace explicitly: otherwise TensorFlow warns about frequent retracing
        ours = tf.function(both, jit_compile=True).get_concrete_function(x, dy, "native")(x, dy)
    else:
        ours = both(x, dy, "native")
    value, gradient = (_relative_error(a, b) for a, b in zip(ours, exact, strict=True))
    return value, gradient


def _relative_error(actual: tf.Tensor, exact: tf.Tensor) -> float:
    return float(tf.norm(tf.cast(actual, tf.float64) - exact) / tf.norm(exact))
