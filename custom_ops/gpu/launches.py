"""Find out what the launchers of the CUDA kernels would launch, on a machine without a GPU.

The kernels are compiled as always, but linked with a few functions of this module in place of the CUDA runtime: they
answer with the limits of an H100 or H200 and write down each launch. So the plans, tiles, parameters and grids are
those of the real launchers.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What an H100 (SXM) and an H200 report.
MULTIPROCESSORS = 132
SHARED_PER_BLOCK = 232_448
SHARED_PER_MULTIPROCESSOR = 233_472
SHARED_RESERVED = 1_024
REGISTERS = 65_536
MAX_WARPS = 64
MAX_BLOCKS = 32

NVCC_FLAGS = ("-std=c++17", "-O3", "-Xcompiler=-fPIC")

_RUNTIME = """
#include <cuda_runtime.h>
#include <map>
#include <string>

static std::map<const void*, std::string>& names() {
  static std::map<const void*, std::string> map;  // made before the first kernel is registered
  return map;
}
extern "C" {
struct Recorded { const char* name; unsigned grid[3], block[3]; size_t shared; void** arguments; };
typedef void (*Recorder)(const Recorded*);
static Recorder recorder;
void sg3_record(Recorder r) { recorder = r; }

void** __cudaRegisterFatBinary(void*) { static void* handle; return &handle; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }
void __cudaRegisterFunction(void**, const char* host, char*, const char* device, int, uint3*, uint3*, dim3*, dim3*,
                            int*) { names()[host] = device; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, void*) { return 1; }  // kernel<<<...>>> does nothing
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) { return cudaErrorNotSupported; }
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t) {
  return cudaErrorNotSupported;
}
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*) { return cudaErrorNotSupported; }
cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = @SHARED_PER_BLOCK@; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = @SHARED_PER_MULTIPROCESSOR@; break;
    case cudaDevAttrReservedSharedMemoryPerBlock: *value = @SHARED_RESERVED@; break;
    case cudaDevAttrMultiProcessorCount: *value = @MULTIPROCESSORS@; break;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = @REGISTERS@; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    default: return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t) {
  const Recorded recorded = {names()[kernel].c_str(), {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared,
                             arguments};
  if (recorder) recorder(&recorded);
  return cudaSuccess;
}
}
"""


class _Recorded(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_size_t),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
    ]


_Recorder = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Recorded))


@dataclasses.dataclass(frozen=True)
class KernelInfo:
    """Registers of a thread, bytes of static shared and of local memory, and (offset, size) of each parameter."""

    registers: int
    static_shared: int
    local: int
    parameters: tuple[tuple[int, int], ...]
    parameters_at: int  # in the constant bank 0


@dataclasses.dataclass(frozen=True)
class RecordedLaunch:
    """One launch: the kernel's name in the binary, sizes in blocks and threads, bytes of shared memory, parameters."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    dynamic_shared: int
    parameters: bytes

    @property
    def blocks(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def warps_per_block(self) -> int:
        return -(-(self.block[0] * self.block[1] * self.block[2]) // 32)


def tool(name: str) -> str:
    """Return the path of cuobjdump or nvdisasm: on PATH, beside nvcc, or of the package nvidia-cuda-NAME."""
    found = shutil.which(name)
    folders = [Path(compiler).resolve().parent for compiler in (shutil.which("nvcc"),) if compiler]
    folders += [Path("/usr/local/cuda/bin")]
    folders += sorted(Path(p) / "nvidia" / sub / "bin" for p in sys.path for sub in ("cu13", "cuda_" + name, "cu12"))
    for folder in folders:
        if found is None and (folder / name).is_file():
            found = str(folder / name)
    if found is None:
        sys.exit(f'gpu/predict.py: there is no {name}: pip install "nvidia-cuda-{name}"')
    return found


def nvcc() -> str:
    """Return the path of nvcc."""
    found = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if found is None:
        sys.exit("gpu/predict.py: there is no nvcc on PATH")
    return found


def run(command: list[str], path: Path | None = None) -> str:
    """Run a program, with `path` in front of PATH, and return what it prints; exit with its messages if it fails."""
    environment = dict(os.environ)
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        sys.exit(f"gpu/predict.py: {' '.join(command[:1])} failed\n{result.stdout}{result.stderr}")
    return result.stdout


def listing(binary: Path) -> str:
    """Return the machine code of a cubin or of a library with device code as text."""
    return run([tool("cuobjdump"), "-sass", str(binary)], path=Path(tool("nvdisasm")).parent)


def kernel_infos(binary: Path) -> dict[str, KernelInfo]:
    """Return the resources of each kernel of a cubin or of a library with device code."""
    program = tool("cuobjdump")
    return parse_infos(run([program, "-res-usage", str(binary)]), run([program, "-elf", str(binary)]))


def parse_infos(usage: str, elf: str) -> dict[str, KernelInfo]:
    """Read the output of `cuobjdump -res-usage` and `cuobjdump -elf`."""
    resources = {
        name: tuple(int(n) for n in numbers)
        for name, *numbers in re.findall(r"Function (\S+):\s+REG:(\d+) STACK:\d+ SHARED:(\d+) LOCAL:(\d+)", usage)
    }
    result = {}
    for name, section in re.findall(r"\n\.nv\.info\.(\S+)\n(.*?)(?=\n\.\w|\Z)", elf, re.DOTALL):
        if name not in resources:
            continue
        found = re.findall(r"Ordinal : 0x([0-9a-f]+)\s+Offset\s+: 0x([0-9a-f]+)\s+Size\s+: 0x([0-9a-f]+)", section)
        ordered = sorted((int(n, 16), int(offset, 16), int(size, 16)) for n, offset, size in found)
        bank = re.search(r"EIATTR_PARAM_CBANK\s+Format:\s+\S+\s+Value:\s+0x\S+ 0x([0-9a-f]+)", section)
        at = int(bank[1], 16) & 0xFFFF if bank else 0x210
        registers, shared, local = resources[name]
        result[name] = KernelInfo(registers, shared, local, tuple((o, s) for _, o, s in ordered), at)
    return result


class Launchers:
    """The launchers of the kernels, linked to write down their launches, with the kernels' resources."""

    def __init__(self, sources: list[Path], folder: Path, architecture: str) -> None:
        runtime = folder / "recorder.cc"
        text = _RUNTIME
        for name in (
            "SHARED_PER_BLOCK", "SHARED_PER_MULTIPROCESSOR", "SHARED_RESERVED", "MULTIPROCESSORS", "REGISTERS"
        ):  # fmt: skip
            text = text.replace(f"@{name}@", str(globals()[name]))
        runtime.write_text(text)
        self.path = folder / "librecorder.so"
        flags = [*NVCC_FLAGS, f"-arch={architecture}", f"-I{ROOT}", "-shared", "-cudart=none"]
        run([nvcc(), *flags, "-o", str(self.path), *map(str, (*sources, runtime))])
        self.library = ctypes.CDLL(str(self.path))
        self.infos = kernel_infos(self.path)
        self._launches: list[RecordedLaunch] = []
        self._callback = _Recorder(self._record)
        self.library.sg3_record(self._callback)

    def _record(self, pointer: ctypes._Pointer[_Recorded]) -> None:
        recorded = pointer.contents
        name = recorded.name.decode()
        info = self.infos[name]
        size = max((offset + size for offset, size in info.parameters), default=0)
        parameters = bytearray(size)
        for i, (offset, length) in enumerate(info.parameters):
            parameters[offset : offset + length] = ctypes.string_at(recorded.arguments[i], length)
        grid, block = tuple(recorded.grid), tuple(recorded.block)
        self._launches.append(RecordedLaunch(name, grid, block, int(recorded.shared), bytes(parameters)))

    def call(self, function: str, *arguments: object) -> tuple[int, list[RecordedLaunch]]:
        """Call a launcher; return its status and what it launched."""
        self._launches = []
        status = int(getattr(self.library, function)(*arguments))
        return status, self._launches
