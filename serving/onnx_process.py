"""Answer requests by an ONNX file in ONNX Runtime, without this project and TensorFlow.

python -I onnx_process.py PATHS MODEL REQUESTS ANSWERS reads a .npz file of arrays "number/input", writes one of
"number/output", and prints load time and latencies in milliseconds, as JSON. PATHS is a JSON list of further folders
with packages. A failure is one line on stderr. serving/onnx_export.py runs it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

for _package in ("sg3tf", "serving", "trainer", "tensorflow", "keras"):
    sys.modules[_package] = None  # type: ignore[assignment]  # importing it fails from here on
if __name__ == "__main__":
    sys.path += [path for path in json.loads(sys.argv[1]) if path and path not in sys.path]

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

_ERRORS_ONLY = 3


def main(model: Path, requests: Path, answers: Path) -> None:
    """Load the model, answer every request twice, write the answers."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    load_ms = _ms_since(started)
    names = [output.name for output in session.get_outputs()]
    by_request: dict[str, dict[str, Any]] = {}
    for key, array in np.load(requests).items():
        number, name = key.split("/")
        by_request.setdefault(number, {})[name] = array
    outputs: dict[str, Any] = {}
    latencies = []
    for number, inputs in by_request.items():
        times = []
        for _ in range(2):
            started = time.perf_counter()
            arrays = session.run(names, inputs)
            times.append(_ms_since(started))
        outputs |= {f"{number}/{name}": array for name, array in zip(names, arrays, strict=True)}
        latencies.append(times)
    np.savez(answers, **outputs)
    print(json.dumps({"load_ms": load_ms, "latencies_ms": latencies, "onnxruntime": onnxruntime.__version__}))


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[2:]))
    except Exception as error:  # onnx_export.py reports the last line
        sys.exit(" ".join(str(error).split())[:500] or type(error).__name__)
