"""Networks on a server: TensorFlow Serving, or this project's own."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.network import ExportedNetwork, FloatArray, Shape
from sg3tf.remote import Client, ServingError

SCHEME = "grpc://"

_ADDRESS = re.compile(SCHEME + r"(?P<server>[^/]+:\d+)/(?P<model>[^/]+)")
_BATCH = 8


class RemoteNetwork(ExportedNetwork):
    """Network for a model on a server.

    Args:
        address: grpc://HOST:PORT/MODEL.
        batch: number of concurrent single-image requests, which the server may batch; None for 8.
        connection: `timeout_s`, `ssl_ca_file` and `api_key_file` of sg3tf.remote.Client.

    Raises:
        ValueError: malformed address, or the model was not exported by serving.export.
        ConnectionError: the server does not answer, or rejects the request.
    """

    def __init__(self, address: str, batch: int | None, **connection: Any) -> None:
        parts = _ADDRESS.fullmatch(address)
        if not parts:
            raise ValueError(f"network={address}: give grpc://HOST:PORT/MODEL")
        self._client = Client(parts["server"], parts["model"], **connection)
        signatures = self._client.metadata()
        shapes: dict[str, Shape] = {}
        for name in self.OUTPUTS:
            if name in signatures:
                tensors = {**signatures[name].inputs, **signatures[name].outputs}
                shapes |= {key: shape for key, shape in tensors.items() if shape is not None}
        super().__init__(address, batch or _BATCH, shapes)
        self._knows_classes = "label" in signatures
        self.classes = tuple(self._client.class_names(signatures))
        self.label_scale = self._client.label_scale(signatures)

    def identity(self) -> str:
        """Return the address and the model's version, because the server does not identify the weights."""
        return f"{self.name} version {self._client.version()}"

    def label_of_class(self, class_name: str) -> FloatArray | None:
        """Return the result of the server's signature `label`; without it, None for an unknown class."""
        if not self._knows_classes:
            return super().label_of_class(class_name)
        try:
            return self._client.predict("label", {"class_name": np.array([class_name], object)})["label"][0]
        except ServingError as error:
            if error.code != grpc.StatusCode.INVALID_ARGUMENT:
                raise
            label = super().label_of_class(class_name)  # older exports reject numbers
            if label is None:
                raise ValueError(f"class={class_name}: {error}") from error
            return label

    def _call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        def call_single(row: int) -> NDArray[Any]:
            one = {name: array[row : row + 1] for name, array in inputs.items()}
            return self._client.predict(signature, one)[self.OUTPUTS[signature]]

        count = len(next(iter(inputs.values())))
        with ThreadPoolExecutor(self.batch) as pool:
            return np.concatenate([*pool.map(call_single, range(count))])
