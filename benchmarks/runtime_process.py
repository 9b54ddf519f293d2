"""One runtime and one network, for benchmarks.deploy_bench: python -m benchmarks.runtime_process RUNTIME MODEL INPUTS

After loading, it runs once, writes the images to INPUTS.RUNTIME.npy and prints a line of JSON. Then it runs once for
each line of its standard input, and prints the seconds: CPU time of all threads, and wall time.

RUNTIME is native or stock (MODEL is a .keras file), onnxruntime, openvino or openvino-default (an .onnx file), or
litert (a .tflite file). INPUTS is an .npz file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Mapping[str, Array]
Run = Callable[[], Array]


def keras_model(file: Path, inputs: Inputs, backend: str) -> Run:
    """The generator as a TensorFlow graph, with an operations backend of sg3tf."""
    import tensorflow as tf

    import sg3tf

    G = sg3tf.load(file)
    transform = inputs["transform"] if G.supports_transform else None

    @tf.function(autograph=False)
    def generate(z: tf.Tensor) -> tf.Tensor:
        return G.synthesis(G.mapping(z, truncation_psi=inputs["psi"]), transform=transform)

    with sg3tf.ops.use_backend(backend):
        generate.get_concrete_function(tf.TensorSpec([None, G.config.z_dim]))
    z = tf.constant(inputs["z"])
    return lambda: generate(z).numpy()


def onnxruntime_model(file: Path, inputs: Inputs) -> Run:
    """The ONNX file in ONNX Runtime, with threads that do not spin while waiting, which would count as CPU time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {i.name: inputs[i.name] for i in session.get_inputs()}
    return lambda: session.run(["images"], given)[0]


def openvino_model(file: Path, inputs: Inputs, precision: str | None) -> Run:
    """The ONNX file in OpenVINO, with a precision hint or its default."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    compiled = openvino.Core().compile_model(file, "CPU", options)
    given = {i.any_name: inputs[i.any_name] for i in compiled.inputs}
    return lambda: compiled(given)["images"]


def litert_model(file: Path, inputs: Inputs) -> Run:
    """The LiteRT file, in one thread, which is LiteRT's default."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(file)).get_signature_runner()
    given = {name: inputs[name] for name in run.get_input_details()}
    return lambda: run(**given)["images"]


RUNTIMES: dict[str, Callable[[Path, Inputs], Run]] = {
    "native": lambda file, inputs: keras_model(file, inputs, "native"),
    "stock": lambda file, inputs: keras_model(file, inputs, "matmul"),
    "onnxruntime": onnxruntime_model,
    "openvino": lambda file, inputs: openvino_model(file, inputs, "f32"),
    "openvino-default": lambda file, inputs: openvino_model(file, inputs, None),
    "litert": litert_model,
}


def main(runtime: str, model: str, inputs: str) -> None:
    """Load, run once, then once for each line of the standard input."""
    start = time.perf_counter()
    with np.load(inputs) as arrays:
        run = RUNTIMES[runtime](Path(model), dict(arrays))
    np.save(f"{inputs}.{runtime}.npy", run())
    print(json.dumps({"load_seconds": time.perf_counter() - start}), flush=True)
    for _ in sys.stdin:
        cpu, clock = time.process_time(), time.perf_counter()
        run()
        seconds = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - clock}
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
