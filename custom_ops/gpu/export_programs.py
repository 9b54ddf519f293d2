"""Export synthesis networks as StableHLO, for a machine with a GPU and JAX but no TensorFlow.

python custom_ops/gpu/export_programs.py --out=build/gpu_programs

It runs here, with TensorFlow and the native library for XLA. NAME.mlir is a program; programs.json lists its arguments
in order, the latents first and then the weights, and stored.npz has the small weights and, for small networks, the
images to compare with. Large weights are drawn from a seed on both sides, so that only small files are transferred.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from custom_ops.gpu.run_programs import value_of
from sg3tf import Generator
from sg3tf.ops import use_backend

LARGE = 20_000  # elements; smaller weights are stored
WS_SCALE = 0.5
SMALL = {"channel_base": 1024, "channel_max": 32, "z_dim": 64, "w_dim": 64}
#: name: (preset, resolution, sizes, batch, backend, whether to store the images)
PROGRAMS: dict[str, tuple[str, int, dict[str, int], int, str, bool]] = {
    "t32_native": ("stylegan3-t", 32, SMALL, 2, "native", True),
    "r32_native": ("stylegan3-r", 32, SMALL, 2, "native", True),
    "t32_xla": ("stylegan3-t", 32, SMALL, 2, "xla", True),
    "t256_native": ("stylegan3-t", 256, {}, 8, "native", False),
    "t256_xla": ("stylegan3-t", 256, {}, 8, "xla", False),
    "r256_native": ("stylegan3-r", 256, {}, 8, "native", False),
}


class Exporter:
    """Programs and the arrays that they need, collected for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, NDArray[Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def export(
        self, name: str, preset: str, resolution: int, sizes: dict[str, Any], batch: int, backend: str, compare: bool
    ) -> None:
        """Trace one network and write its program."""
        keras.utils.set_random_seed(0)
        generator = Generator.from_preset(preset, resolution=resolution, **sizes)
        arguments = {}
        for index, variable in enumerate(generator.variables):
            argument = self._describe(f"{name}_{index}", variable.numpy(), seed=index)
            variable.assign(value_of(argument, self.stored))
            arguments[variable.value.handle.ref()] = argument
        latents = {"shape": [batch, generator.num_ws, generator.config.w_dim], "seed": 12345, "scale": WS_SCALE}
        ws = tf.constant(value_of(latents, self.stored))
        function = tf.function(lambda ws: generator.synthesis(ws), jit_compile=True, autograph=False)
        with use_backend(backend):
            captured = function.get_concrete_function(ws).captured_inputs
            program = function.experimental_get_compiler_ir(ws)(stage="stablehlo")
        (self.folder / f"{name}.mlir").write_text(program)
        entry: dict[str, Any] = {"arguments": [latents, *(arguments[c.ref()] for c in captured)], "images": batch}
        if compare:
            entry["result"] = f"{name}_result"
            self.stored[entry["result"]] = function(ws).numpy()
        self.programs[name] = entry
        print(f"{name}: {len(program)} characters, {len(captured)} weights", flush=True)

    def save(self) -> None:
        """Write programs.json and stored.npz."""
        arrays: dict[str, Any] = self.stored
        np.savez(self.folder / "stored.npz", **arrays)
        (self.folder / "programs.json").write_text(json.dumps(self.programs, indent=1) + "\n")

    def _describe(self, name: str, value: NDArray[Any], seed: int) -> dict[str, Any]:
        if value.size <= LARGE or value.dtype != np.float32:
            self.stored[name] = value
            return {"stored": name}
        return {"shape": list(value.shape), "seed": seed, "scale": float(value.std()) or 1.0}


def main() -> None:
    """Export all programs, or those that --only names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the programs")
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS))
    args = parser.parse_args()
    exporter = Exporter(args.out)
    for name in args.only:
        exporter.export(name, *PROGRAMS[name])
    exporter.save()


if __name__ == "__main__":
    main()
