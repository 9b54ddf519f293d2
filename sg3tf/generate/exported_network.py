"""Networks of which only the serving signatures are at hand: a SavedModel, or a model on a server."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.generate.keras_network import default_batch, map_single
from sg3tf.generate.network import ByteArray, FloatArray, Network, Sizes

# ---------------------------------------------------------------------------------------------------------------------
# A network of which only signatures are at hand, those of serving/signatures.py.
# ---------------------------------------------------------------------------------------------------------------------

# (signature, its inputs) -> its output. Inputs that are None are left out.
Call = Callable[[str, dict[str, NDArray[Any] | None]], NDArray[Any]]
Shape = tuple[int | None, ...]

#: The signatures that are called, with their outputs.
OUTPUTS = {"map": "ws", "synthesize": "images"}


def exported_network(
    name: str,
    shapes: Mapping[str, Shape],
    call: Call,
    identity: Callable[[], str],
    batch: int,
) -> Network:
    """The Network behind signatures.

    Args:
        name: what messages call it.
        shapes: of inputs and outputs of OUTPUTS' signatures, by their names.
        call: asks a signature.
        identity, batch: as of Network.

    Raises:
        ValueError: signatures of something else.
    """
    sizes = _sizes(name, shapes)

    def mapping(z: FloatArray, label: FloatArray | None) -> FloatArray:
        return call("map", {"z": z, "psi": np.ones([len(z)], np.float32), "label": label})

    def average() -> FloatArray:
        label = np.zeros([1, sizes.label_dim], np.float32) if sizes.label_dim else None
        z, psi = np.ones([1, sizes.z_dim], np.float32), np.zeros([1], np.float32)
        return call("map", {"z": z, "psi": psi, "label": label})[0, 0]

    def synthesis(ws: FloatArray, transform: FloatArray | None) -> ByteArray:
        if transform is None and sizes.supports_transform:
            transform = np.tile(np.eye(3, dtype=np.float32), [len(ws), 1, 1])
        return call("synthesize", {"ws": ws, "transform": transform})

    return Network(
        **dataclasses.asdict(sizes),
        name=name,
        batch=batch,
        mapping=mapping,
        average=average,
        synthesis=synthesis,
        identity=identity,
    )


def _sizes(name: str, shapes: Mapping[str, Shape]) -> Sizes:
    try:
        (_, z_dim), (_, num_ws, w_dim), (_, resolution, _, channels) = (shapes[key] for key in ("z", "ws", "images"))
        _, label_dim = shapes.get("label", (None, 0))
        sizes = {"z_dim": z_dim, "w_dim": w_dim, "num_ws": num_ws, "label_dim": label_dim}
        sizes |= {"resolution": resolution, "channels": channels}
        known = {key: _known(size) for key, size in sizes.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"network={name}: not a generator that serving.export has written ({error})") from error
    return Sizes(**known, supports_transform="transform" in shapes)


def _known(size: int | None) -> int:
    if size is None or size < 0:
        raise ValueError(f"size {size}")
    return size


# ---------------------------------------------------------------------------------------------------------------------
# A network that was exported as a SavedModel.
# ---------------------------------------------------------------------------------------------------------------------

_MODEL_FILE = "saved_model.pb"


def version_folder(path: Path) -> Path | None:
    """The SavedModel at `path`, or the newest of its versions there; None where there is none."""
    versions = [entry for entry in path.glob("*") if entry.name.isdecimal()]
    newest = sorted(versions, key=lambda entry: int(entry.name), reverse=True)
    return next((folder for folder in (path, *newest) if (folder / _MODEL_FILE).is_file()), None)


def saved_network(folder: Path, name: str, batch: int | None = None) -> Network:
    """The Network of a version that serving.export has written.

    Args:
        folder: the version's.
        name: what messages call it.
        batch: as of open_network.

    Raises:
        OSError, ValueError: something else is in the folder.
    """
    loaded = tf.saved_model.load(str(folder))
    signatures = {key: loaded.signatures[key] for key in OUTPUTS if key in loaded.signatures}
    shapes: dict[str, Shape] = {}
    for signature in signatures.values():
        specs = {**signature.structured_input_signature[1], **signature.structured_outputs}
        shapes |= {key: tuple(spec.shape) for key, spec in specs.items() if spec.shape.rank is not None}
    batch = batch or default_batch((shapes.get("images") or (None, None))[1] or 1)
    functions = {key: _one_by_one(signature, OUTPUTS[key], batch) for key, signature in signatures.items()}

    def call(signature: str, inputs: dict[str, NDArray[Any] | None], owner: Any = loaded) -> NDArray[Any]:
        """`owner` keeps the variables alive, which the functions do not."""
        return functions[signature](**inputs)

    return exported_network(name, shapes, call, lambda: _digest(folder), batch)


def _one_by_one(signature: Any, output: str, batch: int) -> Any:
    spec = signature.structured_outputs[output]
    row = tf.TensorSpec(spec.shape[1:], spec.dtype)
    return map_single(lambda **inputs: signature(**inputs)[output], row, batch)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("variables/*")):
        digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()}"


# ---------------------------------------------------------------------------------------------------------------------
# A network that a server has.
# ---------------------------------------------------------------------------------------------------------------------

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
    from sg3tf.remote import Client

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
    from sg3tf.remote import ServingError

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
