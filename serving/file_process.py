"""Answer requests by an exported file in its runtime, without this project and TensorFlow.

python -I file_process.py PATHS RUNTIME MODEL REQUESTS ANSWERS reads a .npz file of arrays "number/input", writes one of
"number/output", and prints load time, latencies in milliseconds and the runtime's version, as JSON. PATHS is a JSON
list of further folders with packages. RUNTIME is onnxruntime or ai_edge_litert. A failure is one line on stderr.
serving/single_file.py runs it.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

for _package in ("sg3tf", "serving", "trainer", "tensorflow", "keras"):
    sys.modules[_package] = None  # type: ignore[assignment]  # make importing it fail
if __name__ == "__main__":
    sys.path += [path for path in json.loads(sys.argv[1]) if path and path not in sys.path]

import numpy as np  # noqa: E402

Arrays = dict[str, Any]
_ERRORS_ONLY = 3


def load_onnx(model: str) -> Callable[[Arrays], Arrays]:
    """An ONNX file, as a function of the inputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def load_litert(model: str) -> Callable[[Arrays], Arrays]:
    """A LiteRT file, as a function of the inputs by name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model)
    interpreter.allocate_tensors()  # the error names a missing operation
    runner = interpreter.get_signature_runner()
    return lambda inputs: runner(**inputs)


RUNTIMES = {"onnxruntime": load_onnx, "ai_edge_litert": load_litert}


def main(runtime: str, model: str, requests: str, answers: str) -> None:
    """Load the model, answer every request twice, write the answers."""
    started = time.perf_counter()
    run = RUNTIMES[runtime](model)
    load_ms = _ms_since(started)
    by_request: dict[str, Arrays] = {}
    for key, array in np.load(requests).items():
        number, name = key.split("/")
        by_request.setdefault(number, {})[name] = array
    outputs: Arrays = {}
    latencies = []
    for number, inputs in by_request.items():
        times = []
        for _ in range(2):
            started = time.perf_counter()
            arrays = run(inputs)
            times.append(_ms_since(started))
        outputs |= {f"{number}/{name}": array for name, array in arrays.items()}
        latencies.append(times)
    np.savez(answers, **outputs)
    version = sys.modules[runtime].__version__  # package names may differ, such as onnxruntime-gpu
    print(json.dumps({"load_ms": load_ms, "latencies_ms": latencies, "version": version}))


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


if __name__ == "__main__":
    try:
        main(*sys.argv[2:])
    except Exception as error:  # single_file.py reports the last line
        sys.exit(" ".join(str(error).split())[:500] or type(error).__name__)
