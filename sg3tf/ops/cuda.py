"""Requirements of the native operations on NVIDIA GPUs: a driver, and a compiler for the kernels on first use.

custom_ops/jit compiles them with NVRTC, which `pip install "sg3tf[cuda]"` installs, or else with nvcc.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
from pathlib import Path

#: Environment variable with the path of NVRTC, for custom_ops/jit.
NVRTC_VARIABLE = "SG3TF_NVRTC"
#: The names under which custom_ops/jit/compiler.cc loads NVRTC if that variable is not set.
_SYSTEM_NVRTC = ("libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so")
_DRIVER_FACTS = Path("/proc/driver/nvidia/version")
#: The oldest supported driver: its CUDA version, and its release number.
OLDEST_DRIVER, OLDEST_DRIVER_NAME = (12, 0), "525"


def unavailable_reason() -> str:
    """Return why kernels cannot run on this machine's GPUs, with the remedy, or an empty string."""
    driver = driver_version()
    if driver < OLDEST_DRIVER:
        version = ".".join(map(str, driver))
        return f"the GPU's driver is for CUDA {version}: install driver {OLDEST_DRIVER_NAME} or newer"
    if not find_nvrtc() and not has_system_compiler():
        return 'neither NVRTC nor nvcc is found: pip install "sg3tf[cuda]"'
    return ""


def driver_version() -> tuple[int, int]:
    """Return the newest CUDA version that the driver supports; (0, 0) without a driver."""
    version = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return 0, 0
    return version.value // 1000, version.value % 1000 // 10


def driver_name() -> str:
    """Return the driver's version number, such as "580.65.06", or an empty string if the system does not report it."""
    facts = _DRIVER_FACTS.read_text() if _DRIVER_FACTS.is_file() else ""
    number = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", facts)
    return number[0] if number else ""


def compiler(library: Path) -> str:
    """Return the name of the compiler that the loaded library uses, or the reason why it has none."""
    return _text(library, "sg3_cuda_compiler")


def cache_folder(library: Path) -> Path | None:
    """Return the folder in which the loaded library keeps compiled kernels."""
    folder = _text(library, "sg3_cuda_cache_folder")
    return Path(folder) if folder else None


def _text(library: Path, function: str) -> str:
    call = getattr(ctypes.CDLL(str(library)), function)
    call.restype = ctypes.c_char_p
    return os.fsdecode(call())


def find_nvrtc() -> Path | None:
    """Return the path of NVRTC: SG3TF_NVRTC if set, otherwise from the Python package nvidia-cuda-nvrtc-cu12."""
    setting = os.environ.get(NVRTC_VARIABLE)
    if setting:
        return Path(setting)
    package = importlib.util.find_spec("nvidia")  # a namespace package
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
        if file.is_file():
            return file
    return None


def set_nvrtc() -> None:
    """Set the path of NVRTC for custom_ops/jit, in this process and its children."""
    file = find_nvrtc()
    if file:
        os.environ[NVRTC_VARIABLE] = str(file)


def has_system_compiler() -> bool:
    """Return True if the loader finds NVRTC, or nvcc is in CUDA_HOME or on the path."""
    home = os.environ.get("CUDA_HOME")
    nvcc = (Path(home) / "bin" / "nvcc").is_file() if home else shutil.which("nvcc") is not None
    return nvcc or any(map(_can_be_loaded, _SYSTEM_NVRTC))


def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
