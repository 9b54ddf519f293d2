"""Time and memory per generated image in the runtimes that run an export, one JSON line per network and runtime.

python -m benchmarks.deploy_bench --networks=T-32,R-32 --out=deploy-cpu.json

Each runtime has its own process, which computes float images from latents and a transform; all runtimes of a network
alternate. `cpu_seconds_per_image` is the CPU time of all threads, which other programs on a busy machine disturb less
than wall time. `difference` is the largest difference from the first runtime's images, relative to their largest
value. onnxruntime-web runs in Node, from the folder of --node_modules.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from absl import app, flags

from benchmarks import report
from benchmarks.networks import Network
from benchmarks.report import Row, median
from benchmarks.runtime_process import RUNTIMES
from serving.litert_export import litert_model
from serving.onnx_export import onnx_model
from sg3tf import build_generator, latents, load

EXAMPLE = Path("examples/portraits-32.keras")
WEB = "onnxruntime-web"

_NETWORKS = flags.DEFINE_list(
    "networks", ["T-32", "R-32", "portraits-32"], "T or R, a hyphen and a resolution; or the example's name"
)
_RUNTIMES = flags.DEFINE_list(
    "runtimes", list(RUNTIMES), f"any of {', '.join([*RUNTIMES, WEB])}; the first is the reference"
)
_CHANNEL_BASE = flags.DEFINE_integer("channel_base", None, "channels of T and R; default: as published")
_CHANNEL_MAX = flags.DEFINE_integer(
    "channel_max", 512, "most channels of a layer of T and R, like the trainer's --cmax"
)
_BATCH = flags.DEFINE_integer("batch", 1, "images per call", lower_bound=1)
_NODE_MODULES = flags.DEFINE_string("node_modules", None, f"folder with the package {WEB}")


class Runtime:
    """A process of benchmarks.runtime_process, or of runtime_process.mjs in Node, as a context manager."""

    def __init__(self, name: str, folder: Path) -> None:
        model = folder / {"native": "g.keras", "stock": "g.keras", "litert": "g.tflite"}.get(name, "g.onnx")
        self._images = folder / f"inputs.npz.{name}.npy"
        command = [sys.executable, "-m", "benchmarks.runtime_process", name, str(model), str(folder / "inputs.npz")]
        if name == WEB:
            script = Path(__file__).with_name("runtime_process.mjs")
            command = ["node", str(script), str(_NODE_MODULES.value), str(model), str(folder / "inputs.json")]
        self._process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Runtime:
        self.load_seconds = self._reply()["load_seconds"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self) -> dict[str, float]:
        """Generate the images once, and return the seconds."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._reply()

    def images(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.load(self._images)

    def peak_memory_gb(self) -> float:
        """Peak memory of the process, including the network, its runtime and libraries."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self._process.pid}/status").read_text())
        return int(found[1]) * 1024 / 1e9 if found else float("nan")

    def _reply(self) -> dict[str, float]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return json.loads(line)


def generator(name: str) -> Any:
    """The example network, or one with random weights whose running statistics give its images full contrast."""
    if name == EXAMPLE.stem:
        return load(EXAMPLE)
    keras.utils.set_random_seed(0)
    G = build_generator(Network.named(name, _CHANNEL_BASE.value, _CHANNEL_MAX.value).generator())
    for layer in G.synthesis_layers:
        layer.magnitude_ema_beta = 0.0
    G(latents.z_from_seeds([0], G.config.z_dim), update_emas=True)
    return G


def measure(name: str) -> Iterator[Row]:
    """Measure all runtimes of one network in turn."""
    G, batch = generator(name), _BATCH.value
    inputs = {
        "z": latents.z_from_seeds(range(batch), G.config.z_dim),
        "psi": np.full(batch, 0.7, np.float32),
        "cutoff": np.full(batch, G.num_ws),
        "transform": np.tile(latents.transform_matrix(0.3, 0.1, -0.05), (batch, 1, 1)),
    }
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        G.save(folder / "g.keras")
        onnx.save_model(onnx_model(G, "z"), folder / "g.onnx")
        if "litert" in _RUNTIMES.value:
            (folder / "g.tflite").write_bytes(litert_model(G, "z"))
        np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # of its option allow_pickle
        listed = {key: {"data": value.ravel().tolist(), "shape": value.shape} for key, value in inputs.items()}
        (folder / "inputs.json").write_text(json.dumps(listed))
        runtimes = {runtime: stack.enter_context(Runtime(runtime, folder)) for runtime in _RUNTIMES.value}
        turns = [{name: one.run() for name, one in runtimes.items()} for _ in range(report.REPEATS.value)]
        expected = next(iter(runtimes.values())).images()
        for runtime, one in runtimes.items():
            yield {
                "network": name,
                "runtime": runtime,
                "batch": batch,
                "cpu_seconds_per_image": median([turn[runtime]["cpu_seconds"] for turn in turns]) / batch,
                "seconds_per_image": median([turn[runtime]["seconds"] for turn in turns]) / batch,
                "peak_memory_gb": one.peak_memory_gb(),
                "load_seconds": one.load_seconds,
                "difference": float(np.abs(one.images() - expected).max() / np.abs(expected).max()),
            }


def results() -> Iterator[Row]:
    for name in _NETWORKS.value:
        yield from measure(name)


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
