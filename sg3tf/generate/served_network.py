"""A network that a server has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.exported_network import OUTPUTS, Shape, exported_network
from sg3tf.generate.network import Network

_ADDRESS = re.compile(r"grpc://(?P<server>[^/]+:\d+)/(?P<model>[^/]+)")
_BATCH = 8


def served_network(address: str, batch: int | None = None) -> Network:
    """The Network of a model on a server, TensorFlow Serving's or this project's.

    Args:
        address: grpc://HOST:PORT/MODEL.
        batch: requests of one image each that are under way together, which the server may batch; None for 8.

    Raises:
        ValueError: another form of address, or a model that serving.export has not written.
        ConnectionError: no answer, or a refusal.
    """
    # Against the direction of imports, only when it is wanted (docs/adr/0013).
    from serving.client import Client

    parts = _ADDRESS.fullmatch(address)
    if not parts:
        raise ValueError(f"network={address}: give grpc://HOST:PORT/MODEL")
    batch = batch or _BATCH
    client = Client(parts["server"], parts["model"])

    def call(signature: str, inputs: dict[str, NDArray[Any] | None]) -> NDArray[Any]:
        given = {name: array for name, array in inputs.items() if array is not None}
        each = [
            {name: array[i : i + 1] for name, array in given.items()} for i in range(len(next(iter(given.values()))))
        ]
        with _refusals(), ThreadPoolExecutor(batch) as pool:
            answers = pool.map(lambda one: client.predict(signature, one)[OUTPUTS[signature]], each)
            return np.concatenate([*answers])

    with _refusals():
        shapes = _shapes(client.metadata())
    return exported_network(address, shapes, call, lambda: address, batch)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the server or the network refuses is an OSError, like a file that cannot be read."""
    from serving.client import ServingError

    try:
        yield
    except ServingError as error:
        raise ConnectionError(str(error)) from error


def _shapes(signatures: dict[str, Any]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for signature in (signatures[key] for key in OUTPUTS if key in signatures):
        for infos in (signature.inputs, signature.outputs):
            for name, info in infos.items():
                if not info.tensor_shape.unknown_rank:
                    shapes[name] = tuple(dim.size for dim in info.tensor_shape.dim)
    return shapes
