"""Run programs of stablehlo.py in JAX, without TensorFlow.

JAX has no public function to run StableHLO from elsewhere. The private names used here exist in 0.10.2 and 0.11.2.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.ffi
from jax._src.lib import xla_client  # type: ignore[attr-defined]

#: Native operations in programs: targets of custom calls.
TARGETS = ("sg3_filtered_lrelu", "sg3_upfirdn2d")


def register_handlers(library: Path) -> None:
    """Register the native operations with JAX.

    Args:
        library: on a GPU, built from jax_ffi.cc; on a CPU, sg3tf/ops/lib/_sg3tf_native_xla.so, which needs TensorFlow.
    """
    on_gpu = jax.default_backend() == "gpu"
    if not on_gpu:
        importlib.import_module("tensorflow")  # the library is linked to it
    handlers = ctypes.CDLL(str(library))
    for target in TARGETS:
        handler = getattr(handlers, f"{target}_{'cuda' if on_gpu else 'host'}")
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(handler), platform="CUDA" if on_gpu else "cpu")


class Program:
    """A compiled program on the first device.

    Args:
        text: StableHLO.

    Attributes:
        device: the device on which it runs.
    """

    def __init__(self, text: str) -> None:
        self.device: Any = jax.devices()[0]
        devices = xla_client.DeviceList((self.device,))
        self._loaded = self.device.client.compile_and_load(text, devices, xla_client.CompileOptions())

    def __call__(self, arguments: Sequence[Any]) -> list[jax.Array]:
        """Return the results, which may still be being computed: see jax.block_until_ready.

        Args:
            arguments: NumPy arrays, which are copied to the device, and JAX arrays that are already on it.
        """
        # device_put takes 20 us per array, even if the array is already there.
        placed = [a if isinstance(a, jax.Array) else jax.device_put(a, self.device) for a in arguments]
        return [shards[0] for shards in self._loaded.execute_sharded(placed).disassemble_into_single_device_arrays()]

    def memory_gb(self) -> dict[str, float]:
        """Return the memory that a call needs on the device: for arguments, results, and everything in between."""
        sizes = self._loaded.get_compiled_memory_stats()
        kinds = {"arguments": "argument", "results": "output", "temporary": "temp"}
        return {name: getattr(sizes, f"{kind}_size_in_bytes") / 1e9 for name, kind in kinds.items()}
