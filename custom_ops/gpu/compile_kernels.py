"""Compile the kernels of the networks on a machine without a GPU, into a cache for one with an H100 or H200.

python custom_ops/gpu/compile_kernels.py --out=build/gpu_programs/kernels --nvrtc=FOLDER/libnvrtc.so.13

run_all.sh uses the folder, so that compiling takes no GPU time. A cached kernel is valid for the same sources, version
of NVRTC, compute capability (9.0) and driver (for CUDA 13.0); any other machine compiles its own kernels.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from custom_ops.gpu import check, predict
from custom_ops.gpu.launches import Launchers

ARCH = 90
BATCH = 8


class Compilers(Launchers):
    """Launchers whose kernels are only compiled, and neither read nor recorded."""

    def _load(self, image: int) -> int:
        return 0

    def _launch(self, *launch: Any) -> None:
        """Do nothing."""


def main() -> None:
    """Compile all kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--nvrtc", type=Path, required=True, help="NVRTC's library, of the version on that machine")
    args = parser.parse_args()
    os.environ["SG3TF_NVRTC"] = str(args.nvrtc.resolve(strict=True))
    with tempfile.TemporaryDirectory() as name:
        launchers = Compilers(Path(name), ARCH)
        for case in predict.cases(BATCH, list(check.TYPES), [*check.OPERATIONS, check.MMA]):
            status, _ = launchers.call(f"sg3_cuda_{case.operation}", ctypes.byref(case.problem), *case.arguments)
            if status not in (0, check.NOT_SUPPORTED):
                sys.exit(f"gpu/compile_kernels.py: {launchers.library.sg3_cuda_message(status).decode()}")
        shutil.copytree(Path(name) / "cache", args.out, dirs_exist_ok=True)
    print(f"{sum(1 for _ in args.out.iterdir())} kernels in {args.out}")


if __name__ == "__main__":
    main()
