"""A network of which only signatures are at hand, those of serving/signatures.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.network import ByteArray, FloatArray, Network, Sizes

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
        if transform is None and sizes.movable:
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
    return Sizes(**known, movable="transform" in shapes)


def _known(size: int | None) -> int:
    if size is None or size < 0:
        raise ValueError(f"size {size}")
    return size
