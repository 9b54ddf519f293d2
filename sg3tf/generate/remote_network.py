"""Networks on a server, TensorFlow Serving's or this project's."""

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
    """Network of a model on a server.

    Args:
        address: grpc://HOST:PORT/MODEL.
        batch: number of concurrent requests of one image each, which the server may batch; None for 8.
        connection: `timeout_s`, `ssl_ca_file` and `api_key_file` of sg3tf.remote.Client.

    Raises:
        ValueError: another form of address, or a model that serving.export has not written.
        ConnectionError: no answer, or a refusal.
    """

    def __init__(self, address: str, batch: int | None = None, **connection: Any) -> None:
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
        self.classes = tuple(self._client.class_names())
        self.label_scale = self._client.label_scale()

    def identity(self) -> str:
        """Return the address and the version that answers: the server does not identify the weights."""
        return f"{self.name} version {self._client.version()}"

    def label_of_class(self, class_name: str) -> FloatArray | None:
        """Return what the server's signature `label` returns; None for an unknown class on a server without it."""
        if not self._knows_classes:
            return super().label_of_class(class_name)
        try:
            return self._client.predict("label", {"class_name": np.array([class_name], object)})["label"][0]
        except ServingError as error:
            if error.code != grpc.StatusCode.INVALID_ARGUMENT:
                raise
            label = super().label_of_class(class_name)  # servers of older exports refuse numbers
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
