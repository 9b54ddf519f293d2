"""python min_tfs.py HOST:PORT INPUTS: images of min-tfs-client 1.0.2, which knows the default signature only."""

import json
import sys

import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray

host, port = sys.argv[1].split(":")
inputs = {name: np.array(value, np.float32) for name, value in json.loads(sys.argv[2]).items()}
response = TensorServingClient(host, int(port)).predict_request("fake", inputs)
print(json.dumps({"images": tensor_proto_to_ndarray(response.outputs["images"]).tolist()}))
