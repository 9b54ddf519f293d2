"""Validation of an export: reference requests answered in a fresh process by the stock runtime."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from sg3tf import images, ops
from sg3tf.latents import z_from_seeds

# ---------------------------------------------------------------------------------------------------------------------
# A request for every signature, and what the model it was exported from answers.
#
# The answers take the short way through the model, and NumPy's where the graph has its own, so that they tell
# whether a signature does what it says.
# ---------------------------------------------------------------------------------------------------------------------

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
    if generator.supports_transform:
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
        transform = [tf.TensorSpec([None, 3, 3], tf.float32)] if generator.supports_transform else []
        self._compiled = tf.function(
            lambda ws, transform=None: generator.synthesis(ws, transform=transform),
            [ws, *transform],
            autograph=False,
            jit_compile=xla or None,
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
        transforms = [transform] if self._generator.supports_transform else []
        with tf.device("CPU"), ops.use_backend("matmul"):
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


# ---------------------------------------------------------------------------------------------------------------------
# The requests a server answers to itself before it announces a version, so that no user waits for first times.
#
# TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests.
# ---------------------------------------------------------------------------------------------------------------------

FILE_NAME = "tf_serving_warmup_requests"
_MAX_RECORDS = 1000  # TensorFlow Serving refuses a model with more


def check_batch_sizes(sizes: Sequence[int], max_batch: int | None, num_signatures: int) -> None:
    """Raises ValueError for sizes that a server would not answer."""
    given = f"warmup_batch_sizes={','.join(map(str, sizes))}"
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{given}: give at least one size, each of at least one image")
    if max_batch is not None and max(sizes) > max_batch:
        raise ValueError(f"{given}: none may exceed max_batch={max_batch}")
    if len(sizes) * num_signatures > _MAX_RECORDS:
        raise ValueError(f"{given}: {_MAX_RECORDS // num_signatures} sizes at most, for {num_signatures} signatures")


def write(file: Path, requests: Iterable[Request]) -> None:
    """Writes the requests as TFRecords of PredictionLog."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            writer.write(_log(request).SerializeToString())


def _log(request: Request) -> prediction_log_pb2.PredictionLog:
    call = predict_pb2.PredictRequest()
    call.model_spec.signature_name = request.signature
    for name, value in request.inputs.items():
        call.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=call))


# ---------------------------------------------------------------------------------------------------------------------
# Try an exported version before anyone can see it, as TFX's InfraValidator does.
#
# A fresh process loads it as a stock server does and answers a canary request for every signature; the answers are
# compared with the model's own.
# ---------------------------------------------------------------------------------------------------------------------

#: Largest difference of float outputs, as a share of the largest number; in 8 bits one level, where rounding decides.
TOLERANCE = 1e-4
_LEVELS = 1


class ValidationError(Exception):
    """The exported model is not the model; one line says where."""


def validate_export(folder: Path, source: Source, requests: Sequence[Request]) -> dict[str, Any]:
    """Have a process without this project answer the warm-up requests in `folder`, and compare.

    Args:
      folder: version folder, with the requests as warm-up.
      source: what was exported.
      requests: what the warm-up file holds.

    Returns:
      What it took, on the processor of this machine, for the metadata.

    Raises:
      ValidationError: it does not load, an answer is missing, or one differs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers"
        took = _run(folder.resolve(), answers, Path(scratch))
        differences = [
            _largest_difference(request, source.answer(request), answer)
            for request, answer in zip(requests, _read(answers), strict=True)
        ]
    return {
        "device": "CPU",
        "load_ms": took["load_ms"],
        "latencies_ms": [
            {"signature": request.signature, "batch": request.batch, "first": first, "second": second}
            for request, (first, second) in zip(requests, took["latencies_ms"], strict=True)
        ],
        "largest_difference": max(differences),
    }


def _run(folder: Path, answers: Path, scratch: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("stock_loader.py")
    command = [sys.executable, "-I", str(script), str(folder), str(answers)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise ValidationError(f"the process that loads it was ended by signal {-done.returncode}; out of memory?")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ValidationError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _read(answers: Path) -> Iterator[dict[str, np.ndarray]]:
    for record in tf.data.TFRecordDataset(str(answers)).as_numpy_iterator():
        outputs = predict_pb2.PredictResponse.FromString(record).outputs
        yield {name: decoded(name, tf.make_ndarray(value)) for name, value in outputs.items()}


def _largest_difference(request: Request, expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]) -> float:
    """Of the float outputs, relative."""
    where = f"signature {request.signature}, batch {request.batch}"
    if set(answer) != set(expected):
        raise ValidationError(f"{where}: outputs {sorted(answer)} instead of {sorted(expected)}")
    largest = 0.0
    for name, wanted in expected.items():
        got = answer[name]
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise ValidationError(f"{where}: {name} is {got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}")
        if not np.isfinite(got).all():
            raise ValidationError(f"{where}: {name} is not finite")
        difference = np.abs(got.astype(np.float64) - wanted).max()
        allowed = _LEVELS if got.dtype == np.uint8 else TOLERANCE * np.abs(wanted).max()
        if not difference <= allowed:
            raise ValidationError(
                f"{where}: {name} differs from the model's by {difference:.3g}; {allowed:.3g} is allowed"
            )
        if got.dtype != np.uint8:
            largest = max(largest, float(difference / max(np.abs(wanted).max(), 1e-30)))
    return largest
