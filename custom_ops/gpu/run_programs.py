"""Run exported programs (export_programs.py) with JAX: compare results and measure times.

python custom_ops/gpu/run_programs.py FOLDER --ffi=libffi.so --out=report.json

Set NVIDIA_TF32_OVERRIDE=0 to compare results: XLA otherwise rounds the inputs of float32 convolutions to TF32, which
alone makes a difference of 1.4e-3. Leave it unset to measure times. The exit status is 1 if a program fails.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGETS = ("sg3_filtered_lrelu", "sg3_upfirdn2d")
TOLERANCE = 1e-3  # relative error of the images


def value_of(argument: dict[str, Any], stored: Any) -> NDArray[Any]:
    """Return an argument of a program, stored or drawn from its seed."""
    if "stored" in argument:
        return stored[argument["stored"]]
    normal = np.random.RandomState(argument["seed"]).randn(*argument["shape"])
    return (normal * argument["scale"]).astype(np.float32)


class Runner:
    """JAX's client on one device."""

    def __init__(self, ffi: Path | None, repeats: int) -> None:
        import jax  # type: ignore[import-not-found, unused-ignore]
        from jax._src.lib import xla_client  # type: ignore[import-not-found, attr-defined, unused-ignore]

        self.jax, self.xla_client, self.repeats = jax, xla_client, repeats
        self.device = jax.devices()[0]
        print(f"jax {jax.__version__} on {self.device.device_kind}", flush=True)
        if ffi:
            library = ctypes.cdll.LoadLibrary(str(ffi))
            for target in TARGETS:
                capsule = jax.ffi.pycapsule(getattr(library, f"{target}_cuda"))
                jax.ffi.register_ffi_target(target, capsule, platform="CUDA")

    def run(self, program: str, entry: dict[str, Any], stored: Any) -> dict[str, Any]:
        """Compile and run one program; return a row of the report."""
        started = time.perf_counter()
        devices = self.xla_client.DeviceList((self.device,))
        loaded = self.device.client.compile_and_load(program, devices, self.xla_client.CompileOptions())
        row: dict[str, Any] = {"compile_s": time.perf_counter() - started}
        arguments = [self.jax.device_put(value_of(a, stored), self.device) for a in entry["arguments"]]

        def call() -> Any:
            (images,) = loaded.execute_sharded(arguments).disassemble_into_single_device_arrays()
            return images[0].block_until_ready()

        images = np.asarray(call(), np.float64)
        row["ok"] = bool(np.all(np.isfinite(images)))
        if "result" in entry:
            expected = stored[entry["result"]].astype(np.float64)
            row["relative_error"] = float(np.linalg.norm(images - expected) / np.linalg.norm(expected))
            row["ok"] = row["relative_error"] <= TOLERANCE
        times = []
        for _ in range(self.repeats):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        row["ms_per_image"] = statistics.median(times) * 1e3 / entry["images"]
        return row


def main() -> int:
    """Run the programs and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by export_programs.py")
    parser.add_argument("--only", default="", help="regular expression: programs whose names match")
    parser.add_argument("--ffi", type=Path, help="library with the handlers of the native operations")
    parser.add_argument("--repeats", type=int, default=10, help="timed calls")
    parser.add_argument("--out", type=Path, help="write the report here, as JSON")
    args = parser.parse_args()
    runner = Runner(args.ffi, args.repeats)
    rows = []
    with np.load(args.folder / "stored.npz") as stored:
        for name, entry in json.loads((args.folder / "programs.json").read_text()).items():
            if not re.search(args.only, name):
                continue
            try:
                row = runner.run((args.folder / f"{name}.mlir").read_text(), entry, stored)
            except Exception as error:  # the other programs can still be measured
                row = {"ok": False, "error": f"{type(error).__name__}: {str(error)[:600]}"}
            rows.append({"name": name, **row})
            print(json.dumps(rows[-1]), flush=True)
            if args.out:
                args.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
