"""The doctor's report: with a library, without, with one for another TensorFlow, and with wrong results."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

import sg3tf
from sg3tf.doctor import command
from sg3tf.doctor import report as doctor
from sg3tf.ops import cuda, native

ROOT = Path(__file__).parents[2]
AVX2 = set(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])
AVX512 = AVX2 | set(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
NUM_TESTS = 14


class Doctor:
    """Calls main and keeps what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self) -> tuple[int, list[str]]:
        status = command.main(flags.FlagValues())
        return status, self.capsys.readouterr().out.splitlines()


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.delenv("SG3TF_OPS", raising=False)
    monkeypatch.delenv("SG3TF_ISA", raising=False)
    return Doctor(capsys)


def failures(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("FAILED")]


@pytest.mark.slow  # without the library for XLA
@pytest.mark.native
def test_all_is_well(report: Doctor) -> None:
    status, lines = report()
    text = "\n".join(lines)
    assert status == 0 and not failures(lines), text
    for version in (sg3tf.__version__, tf.__version__, keras.__version__, np.__version__, sys.version.split()[0]):
        assert version in lines[0]
    assert "CPU:0" in lines[1]
    assert f"{native.FOLDER / native.OPERATIONS}, for TensorFlow {tf.__version__}" in text
    assert "native, and native in a training run (SG3TF_OPS is not set)" in text
    assert (f"no {native.FOLDER / native.XLA}" in text) == (not (native.FOLDER / native.XLA).is_file())
    assert sum(line.startswith("  ok") for line in lines) == NUM_TESTS
    assert len(lines) <= 24 and max(map(len, lines)) < 200  # a screen


@pytest.mark.native
def test_setting(report: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", "matmul")
    only(monkeypatch)
    status, lines = report()
    assert status == 0
    assert any("matmul, and matmul in a training run (SG3TF_OPS=matmul)" in line for line in lines)
    assert any(line.startswith("library") and "for TensorFlow" in line for line in lines)  # tested all the same


def test_no_library(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    status, lines = report()
    assert status == 0 and not failures(lines)
    assert any(f"there is no {tmp_path}" in line and "`make native`" in line for line in lines)
    assert any("matmul, and xla in a training run" in line for line in lines)
    assert "self-test    nothing to test" in lines


def test_no_library_where_one_is_asked_for(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setenv("SG3TF_OPS", "native")
    status, lines = report()
    assert status == 1 and f"native operations asked for, but there is no {tmp_path}" in failures(lines)[0]


def test_library_for_another_tensorflow(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / native.OPERATIONS).write_text("")
    (tmp_path / native.BUILD).write_text(json.dumps({"tensorflow": "2.4.1"}))
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    status, lines = report()
    (failure,) = failures(lines)
    assert status == 1 and "for TensorFlow 2.4.1, but this is " + tf.__version__ in failure and "make native" in failure


def test_unknown_setting(report: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", "fast")
    status, lines = report()
    assert status == 1 and "SG3TF_OPS='fast': use" in failures(lines)[0]


def only(monkeypatch: pytest.MonkeyPatch, *operations: str) -> None:
    """Leaves out the others, and bfloat16."""
    kept = {name: doctor._OPERATIONS[name] for name in operations}
    monkeypatch.setattr(doctor, "_OPERATIONS", kept)
    monkeypatch.setattr(doctor, "TOLERANCES", {tf.float32: doctor.TOLERANCES[tf.float32]})


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """wrong[name] = function: what the native operation returns is passed through it."""
    functions: dict[str, Any] = {}
    operations = native.operations() if native.available() else None

    class Operations:
        def __getattr__(self, name: str) -> Any:
            plain = getattr(operations, name)
            return lambda *args, **kwargs: functions.get(name, lambda y: y)(plain(*args, **kwargs))

    monkeypatch.setattr(native, "operations", Operations)
    return functions


@pytest.mark.native
@pytest.mark.parametrize("wrong_value", [lambda y: y * (1 + 1e-4), lambda y: y * np.nan])
def test_wrong_value(report: Doctor, wrong: dict[str, Any], wrong_value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong["sg3_upfirdn2d"] = wrong_value
    only(monkeypatch, "upfirdn2d")
    status, lines = report()
    assert status == 1
    assert "upfirdn2d      float32               value" in failures(lines)[0]


@pytest.mark.native
def test_wrong_value_in_16_bits(report: Doctor, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong["sg3_upfirdn2d"] = lambda y: y * 1.02
    only(monkeypatch, "upfirdn2d")
    monkeypatch.setattr(doctor, "TOLERANCES", {tf.bfloat16: 1e-2})
    assert report()[0] == 1


@pytest.mark.native
def test_wrong_gradient_alone(report: Doctor, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong["sg3_filtered_lrelu_masked"] = lambda dx: dx * (1 + 1e-4)
    only(monkeypatch, "filtered_lrelu")
    status, lines = report()
    assert status == 1 and "gradient 1.0e-04" in failures(lines)[0]


@pytest.mark.native
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotImplementedError("no kernel\nat all"), "NotImplementedError: no kernel"),
        (MemoryError(), "MemoryError: MemoryError"),
    ],
)
def test_operation_that_raises(
    report: Doctor, wrong: dict[str, Any], error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(y: Any) -> Any:
        raise error

    wrong["sg3_upfirdn2d"] = broken
    only(monkeypatch, "upfirdn2d")
    status, lines = report()
    assert status == 1 and failures(lines)[0].endswith(said)
    assert len(lines) - lines.index(failures(lines)[0]) == 2  # goes on


@pytest.mark.native
def test_layers_of_gpus(wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, because tests have no GPU."""
    lines = list(doctor._layer_tests())
    assert len(lines) == 27 and not failures(lines)
    wrong["sg3_filtered_lrelu"] = lambda y: y * 1.02
    monkeypatch.setattr(doctor, "GPU_TOLERANCES", {tf.float16: doctor.GPU_TOLERANCES[tf.float16]})
    assert len(failures(list(doctor._layer_tests()))) == 5


@pytest.mark.parametrize(
    ("flags", "at_most", "chosen"),
    [
        (AVX512, None, "avx512"),
        (AVX512, "avx2", "avx2"),
        (AVX512, "baseline", "baseline"),
        (AVX512, "avx512", "avx512"),
        (AVX512, "neon", "avx512"),
        (AVX512 - {"avx512vl"}, None, "avx2"),
        (AVX512 - {"fma"}, None, "baseline"),
        (AVX2, None, "avx2"),
        (AVX2, "avx512", "avx2"),
        (AVX2 - {"abm"}, "avx2", "baseline"),
        (set(), "avx512", "baseline"),
    ],
)
def test_instruction_set(flags: set[str], at_most: str | None, chosen: str) -> None:
    assert doctor.instruction_set(flags, at_most) == chosen


@pytest.mark.native
def test_instruction_set_is_the_kernels_own() -> None:
    isa = getattr(ctypes.CDLL(str(native.FOLDER / native.OPERATIONS)), "_ZN3sg33isaEv", None)  # sg3::isa()
    if isa is None:
        pytest.skip("this library does not export sg3::isa()")
    assert doctor._processor().endswith(f"kernels for {('baseline', 'avx2', 'avx512')[isa()]}")


def test_no_gpu(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(cuda, "driver_version", lambda: (0, 0))
    _, lines = report()
    assert [line for line in lines if "GPU" in line] == ["GPU          none: there is no NVIDIA driver"]


def test_gpu_that_tensorflow_does_not_see(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(cuda, "driver_version", lambda: (12, 4))
    _, lines = report()
    (line,) = (line for line in lines if "GPU" in line)
    assert 'driver for CUDA 12.4, but TensorFlow finds no GPU: pip install "sg3tf[cuda]"' in line


@pytest.mark.native
def test_gpu(report: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU by name, without which the layer cannot be timed."""
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    details = {"device_name": "NVIDIA H200", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    monkeypatch.setattr(cuda, "driver_version", lambda: (12, 8))
    monkeypatch.setattr(cuda, "_DRIVER_FACTS", tmp_path / "version")
    facts = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 16 2025\nGCC version:  gcc 12.2.0\n"
    (tmp_path / "version").write_text(facts)
    monkeypatch.setattr(cuda, "cache_folder", lambda library: tmp_path / "kernels")
    (tmp_path / "kernels").mkdir()
    for name in ("a.cubin", "b.cubin", ".new.c"):
        (tmp_path / "kernels" / name).write_bytes(bytes(150_000))
    only(monkeypatch)
    status, lines = report()
    assert "devices      GPU:0 NVIDIA H200 (compute capability 9.0)" in lines
    assert "GPU          driver 570.86.15 for CUDA 12.8" in lines
    (library,) = (line for line in lines if line.startswith("  for GPUs"))
    assert re.search(r"(NVRTC|nvcc) \S+;|is found", library)
    assert library.endswith(f"; 2 kernels (0.3 MB) in {tmp_path / 'kernels'}")
    (failure,) = failures(lines)
    assert (
        status == 1 and "filtered_lrelu of 8 x 148 x 148 x 512, float16 RuntimeError: TensorFlow computes on" in failure
    )


@pytest.mark.native
def test_time_of_a_layer() -> None:
    first_seconds, seconds = doctor.time_layer(tf.ones([1, 32, 32, 16], tf.float16), repeats=2)
    assert 0 < seconds < 10 and first_seconds > 0


@pytest.mark.native
def test_cache_folder_of_the_library(tmp_path: Path) -> None:
    code = (
        "from sg3tf.ops import cuda, native\nnative.require()\n"
        "print(cuda.cache_folder(native.FOLDER / native.OPERATIONS))"
    )
    environment = {**os.environ, "SG3TF_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path}\n", done.stderr


@pytest.mark.slow
def test_command_line(tmp_path: Path) -> None:
    """As it is typed; anything but the report is on stderr."""
    environment = {**os.environ, "SG3TF_ISA": "baseline", "SG3TF_OPS": "auto", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "sg3tf", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"sg3tf {sg3tf.__version__}") and "kernels for baseline\n" in done.stdout
    assert "native operations" not in done.stderr  # no second time what the report says
