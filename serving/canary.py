"""A request for every signature, and what the model it was exported from answers.

The answers take the short way through the model, and NumPy's where the graph has its own, so that they tell
whether a signature does what it says.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from serving.signatures import takes_transform
from sg3tf import images, ops
from sg3tf.latents import z_from_seeds

_ANGLE = 0.3  # of the canary's image, in radians


@dataclasses.dataclass(frozen=True)
class Request:
    """One call of a signature: arrays by input name, N rows each."""

    signature: str
    inputs: dict[str, np.ndarray]

    @property
    def batch(self) -> int:
        return len(next(iter(self.inputs.values())))


def requests(generator: Any, batch_sizes: Iterable[int]) -> list[Request]:
    """For every batch size a request of every signature.

    All inputs have N rows, `psi` and `mask` too: a server that batches takes no others.
    """
    return [request for size in batch_sizes for request in _of_size(generator, size)]


def _of_size(generator: Any, size: int) -> list[Request]:
    config = generator.config
    seed = np.arange(size, dtype=np.int64) + 2**32 - size
    z = z_from_seeds(seed, config.z_dim)
    condition = {"psi": np.linspace(1.0, 0.5, size, dtype=np.float32)}
    if config.label_dim:
        condition["label"] = np.eye(config.label_dim, dtype=np.float32)[np.arange(size) % config.label_dim]
    ws = _map(generator, {"z": z, **condition})
    mask = np.tile(np.float32(np.arange(generator.num_ws) % 2), (size, 1))
    synthesis = {"ws": ws}
    if takes_transform(generator):
        synthesis["transform"] = np.tile(_rotation(), (size, 1, 1))
    inputs: dict[str, dict[str, np.ndarray]] = {
        "serving_default": {"z": z, **condition},
        "generate": {"z": z, **condition},
        "generate_png": {"seed": seed, **condition},
        "map": {"z": z, **condition},
        "synthesize": synthesis,
        "synthesize_float": synthesis,
        "mix": {"ws_a": ws, "ws_b": 2 * ws, "mask": mask},
    }
    return [Request(signature, arrays) for signature, arrays in inputs.items()]


class Source:
    """What the signatures must answer.

    On the processor, as `serving.stock_loader` runs the exported model, and compiled where that is, because other
    devices and compilers round 16 bits in other ways.

    Args:
      generator: `sg3tf.Generator`, built.
      xla: whether its synthesis was exported for XLA.
    """

    def __init__(self, generator: Any, xla: bool):
        self._generator = generator
        ws = tf.TensorSpec([None, generator.num_ws, generator.config.w_dim], tf.float32)
        transform = [tf.TensorSpec([None, 3, 3], tf.float32)] if takes_transform(generator) else []
        self._compiled = tf.function(
            lambda *inputs: generator.synthesis(*inputs), [ws, *transform], autograph=False, jit_compile=xla or None
        )

    def answer(self, request: Request) -> dict[str, np.ndarray]:
        """Arrays by output name; PNGs decoded, [N, R, R, C] uint8."""
        given = request.inputs
        match request.signature:
            case "map":
                return {"ws": _map(self._generator, given)}
            case "synthesize":
                return {"images": images.to_uint8(self._synthesize(**given))}
            case "synthesize_float":
                return {"images": self._synthesize(**given)}
            case "mix":
                ws = np.where(given["mask"][:, :, None] == 1, given["ws_b"], given["ws_a"])
                return {"images": images.to_uint8(self._synthesize(ws))}
            case "generate_png":
                z = z_from_seeds(given["seed"], self._generator.config.z_dim)
                ws = _map(self._generator, {**given, "z": z})
                return {"png_bytes": images.to_uint8(self._synthesize(ws))}
            case _:
                return {"images": images.to_uint8(self._synthesize(_map(self._generator, given)))}

    def _synthesize(self, ws: np.ndarray, transform: np.ndarray | None = None) -> np.ndarray:
        if transform is None:
            transform = np.tile(np.eye(3, dtype=np.float32), (len(ws), 1, 1))
        transforms = [transform] if takes_transform(self._generator) else []
        with tf.device("CPU"), ops.using("matmul"):
            return self._compiled(ws, *transforms).numpy()


def decoded(name: str, value: np.ndarray) -> np.ndarray:
    """An output as `answer` has it: PNGs as arrays."""
    if name != "png_bytes":
        return value
    pixels = [np.asarray(Image.open(io.BytesIO(png))) for png in value]
    return np.stack([image if image.ndim == 3 else image[:, :, None] for image in pixels])


def _map(generator: Any, given: dict[str, np.ndarray]) -> np.ndarray:
    with tf.device("CPU"):
        return generator.mapping(given["z"], given.get("label"), truncation_psi=given["psi"]).numpy()


def _rotation() -> np.ndarray:
    cos, sin = np.cos(_ANGLE), np.sin(_ANGLE)
    return np.array([[cos, -sin, 0.1], [sin, cos, -0.05], [0, 0, 1]], np.float32)
