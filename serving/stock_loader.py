"""Answer the warm-up requests of a version folder as a stock server does, without this project.

python -I stock_loader.py PATHS VERSION_FOLDER ANSWERS writes a TFRecord of PredictResponse per request and prints load
time and latencies in milliseconds, as JSON. PATHS is a JSON list of further folders with packages. A failure is one
line on stderr. serving/validate.py runs it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

for _project in ("sg3tf", "serving", "trainer"):
    sys.modules[_project] = None  # type: ignore[assignment]  # make importing it fail
if __name__ == "__main__":
    sys.path += [path for path in json.loads(sys.argv[1]) if path and path not in sys.path]

import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2  # noqa: E402
from tensorflow.python.framework import op_def_registry  # noqa: E402
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2  # noqa: E402

# These are registered in every TensorFlow, but call back into the Python program that created them.
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def main(folder: Path, answers: Path) -> None:
    """Load the version, answer every request twice, write the answers."""
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in saved_model.meta_graphs:
        refuse_foreign_ops(graph)
    warmup = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
    records = list(warmup.as_numpy_iterator())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        started = time.perf_counter()
        try:
            graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        except Exception as error:
            raise ValueError(f"the export cannot be loaded: {error}") from error
        load_ms = _ms_since(started)
        latencies = answer_requests(session, graph, records, answers)
    print(json.dumps({"load_ms": load_ms, "latencies_ms": latencies}))


def refuse_foreign_ops(graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Raise ValueError for an operation that a stock server lacks, in the graph or its functions."""
    library = graph.graph_def.library.function
    functions = {function.signature.name for function in library}
    bodies = [("the graph", graph.graph_def.node)]
    bodies += [(f"function {function.signature.name}", function.node_def) for function in library]
    for where, nodes in bodies:
        for op in {node.op for node in nodes} - functions:
            if op in _PYTHON_OPS or op_def_registry.get(op) is None:
                raise ValueError(f"{where} has the operation {op}, which a stock server cannot run")


def answer_requests(
    session: Any, graph: meta_graph_pb2.MetaGraphDef, records: list[bytes], answers: Path
) -> list[tuple[float, ...]]:
    """Write the answers; return the latencies of the first and the second run of each request, in milliseconds."""
    latencies = []
    with tf.io.TFRecordWriter(str(answers)) as writer:
        for record in records:
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            signature = graph.signature_def[request.model_spec.signature_name]
            feed = {signature.inputs[name].name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            fetches = {name: info.name for name, info in signature.outputs.items()}
            try:
                outputs, *times = _run_twice(session, fetches, feed)
            except tf.errors.OpError as error:
                raise ValueError(f"signature {request.model_spec.signature_name}: {error.message}") from error
            response = predict_pb2.PredictResponse()
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(response.SerializeToString())
            latencies.append(tuple(times))
    return latencies


def _run_twice(session: Any, fetches: dict[str, str], feed: dict[str, Any]) -> tuple[Any, float, float]:
    started = time.perf_counter()
    session.run(fetches, feed)
    first_ms, started = _ms_since(started), time.perf_counter()
    outputs = session.run(fetches, feed)
    return outputs, first_ms, _ms_since(started)


def _ms_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[2]), Path(sys.argv[3]))
    except Exception as error:  # validate.py reports the last line
        sys.exit(" ".join(str(error).split())[:500] or type(error).__name__)
