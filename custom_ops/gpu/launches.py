"""Record what the launchers of the CUDA kernels would launch, on a machine without a GPU.

The launchers and their compiler (custom_ops/jit) run as always, except that recorder.cc stands in for NVIDIA's driver:
it answers like an H100 or H200 and hands over each compiled kernel and each launch. So plans, tiles, parameters and
grids are those of the real launchers, and the machine code is what a card would execute.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_Load = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Launch = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint), ctypes.c_uint,
    ctypes.POINTER(ctypes.c_void_p),
)  # fmt: skip


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
    """One launch: the kernel, sizes in blocks and threads, bytes of shared memory, parameters.

    `cubin` is the file with the code of the kernel, and `kernel` its name there.
    """

    cubin: Path
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


def packaged(pattern: str) -> list[str]:
    """Return the files of NVIDIA's Python packages that match a pattern, the newest major version first."""
    return sorted((str(f) for p in sys.path if p for f in Path(p).glob(f"nvidia/*/{pattern}")), reverse=True)


def tool(name: str) -> str:
    """Return the path of cuobjdump or nvdisasm: from the package nvidia-cuda-NAME, PATH, or CUDA's own folder."""
    for found in (*packaged(f"bin/{name}"), shutil.which(name), shutil.which(f"/usr/local/cuda/bin/{name}")):
        if found:
            return found
    sys.exit(f'gpu/predict.py: there is no {name}: pip install "nvidia-cuda-{name}"')


def run(command: list[str], path: Path | None = None) -> str:
    """Run a program, with `path` in front of PATH, and return its output; if it fails, exit with its messages."""
    environment = dict(os.environ)
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        sys.exit(f"gpu/predict.py: {command[0]} failed\n{result.stdout}{result.stderr}")
    return result.stdout


def listing(cubin: Path) -> str:
    """Return the machine code of a cubin as text."""
    return run([tool("cuobjdump"), "-sass", str(cubin)], path=Path(tool("nvdisasm")).parent)


def kernel_infos(cubin: Path) -> dict[str, KernelInfo]:
    """Return the resources of each kernel of a cubin."""
    program = tool("cuobjdump")
    return parse_infos(run([program, "-res-usage", str(cubin)]), run([program, "-elf", str(cubin)]))


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


def elf_size(header: bytes) -> int:
    """Return the length of a cubin from its first 64 bytes: the end of its tables of headers, which come last."""
    segments, sections = struct.unpack_from("<QQ", header, 32)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<HHHH", header, 54)
    return max(segments + segment_size * segment_count, sections + section_size * section_count)


class Launchers:
    """The launchers of the kernels. `folder` keeps libraries and cubins; `arch` is 90 for compute capability 9.0.

    A process may use only one object of this class, because the launchers keep the first driver that they find.
    """

    def __init__(self, folder: Path, arch: int) -> None:
        self.folder = folder
        driver, library = folder / "librecorder.so", folder / "liblaunchers.so"
        source = str(Path(__file__).with_name("recorder.cc"))
        run(["g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-o", str(driver), source])
        run([str(ROOT / "custom_ops/jit/build.sh"), str(library)])
        os.environ["SG3TF_LIBCUDA"] = str(driver)
        os.environ["SG3TF_CACHE"] = str(folder / "cache")
        for compiler in packaged("lib/libnvrtc.so.1[0-9]"):
            os.environ.setdefault("SG3TF_NVRTC", compiler)
        self.library = ctypes.CDLL(str(library))
        self.library.sg3_cuda_message.restype = ctypes.c_char_p
        self._modules: list[tuple[Path, dict[str, KernelInfo]]] = []
        self._launches: list[RecordedLaunch] = []
        self._callbacks = _Load(self._load), _Launch(self._launch)
        ctypes.CDLL(str(driver)).sg3_record(arch, *self._callbacks)

    def _load(self, image: int) -> int:
        cubin = self.folder / f"{len(self._modules)}.cubin"
        cubin.write_bytes(ctypes.string_at(image, elf_size(ctypes.string_at(image, 64))))
        self._modules.append((cubin, kernel_infos(cubin)))
        return len(self._modules) - 1

    def _launch(
        self,
        module: int,
        name: bytes,
        grid: ctypes._Pointer[ctypes.c_uint],
        block: ctypes._Pointer[ctypes.c_uint],
        shared: int,
        arguments: ctypes._Pointer[ctypes.c_void_p],
    ) -> None:
        cubin, infos = self._modules[module]
        places = infos[name.decode()].parameters
        parameters = bytearray(max((offset + size for offset, size in places), default=0))
        for i, (offset, size) in enumerate(places):
            parameters[offset : offset + size] = ctypes.string_at(arguments[i], size)
        self._launches.append(
            RecordedLaunch(
                cubin,
                name.decode(),
                (grid[0], grid[1], grid[2]),
                (block[0], block[1], block[2]),
                shared,
                bytes(parameters),
            )
        )

    def info(self, launch: RecordedLaunch) -> KernelInfo:
        """Return the resources of a launched kernel."""
        return next(infos for cubin, infos in self._modules if cubin == launch.cubin)[launch.kernel]

    def call(self, function: str, *arguments: object) -> tuple[int, list[RecordedLaunch]]:
        """Call a launcher; return its status and what it launched."""
        self._launches = []
        status = int(getattr(self.library, function)(*arguments))
        return status, self._launches
