"""python serving_client.py HOST:PORT INPUTS: images, styles and a PNG of tensorflow-serving-client-grpc 2.3.0."""

import base64
import json
import sys

import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

FLOAT, INT64 = 1, 9
inputs = json.loads(sys.argv[2])
stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[1]))


def predict(signature, floats, seeds=()):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fake", signature
    for name in floats:
        rows = inputs[name]
        tensor = request.inputs[name]
        tensor.dtype = FLOAT
        tensor.tensor_shape.dim.add(size=len(rows))
        if isinstance(rows[0], list):
            tensor.tensor_shape.dim.add(size=len(rows[0]))
            rows = [value for row in rows for value in row]
        tensor.float_val.extend(rows)
    if seeds:
        tensor = request.inputs["seed"]
        tensor.dtype = INT64
        tensor.tensor_shape.dim.add(size=len(seeds))
        tensor.int64_val.extend(seeds)
    return stub.Predict(request, 20).outputs


images = predict("generate", ["z", "psi", "label"])["images"]
ws = predict("map", ["z", "psi", "label"])["ws"]
png = predict("generate_png", ["psi", "label"], seeds=[3, 4])["png_bytes"].string_val
print(json.dumps({"images": list(images.int_val), "ws": list(ws.float_val), "png": base64.b64encode(png[0]).decode()}))
