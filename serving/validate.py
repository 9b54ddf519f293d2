"""Validation of an export before it is published: reference requests, answered by the stock runtime.

The same requests serve three purposes. They are written to the version folder as warm-up requests, which a server
answers before it announces the version. A new process without this project loads the version like a stock server and
answers them, similar to TFX's InfraValidator. And `ReferenceModel` computes the expected answers.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from sg3tf import images, ops
from sg3tf.latents import labels_in_turn, mix, transform_matrix, z_from_seeds
from sg3tf.utils.class_names import label_of
from sg3tf.utils.files import literal_folder, scratch_folder
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.resolution import size_of

#: Largest difference of float outputs, relative to the largest expected value.
TOLERANCE = 1e-4
#: Largest difference of uint8 outputs, in levels: values may be rounded up or down.
_UINT8_TOLERANCE = 1

_MAX_WARMUP_REQUESTS = 1000  # TensorFlow Serving rejects models with more


class ValidationError(ValueError):
    """The exported model differs from the generator; one line names the signature and the difference."""


# --- Requests ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Request:
    """One call of a signature: arrays of N rows by input name.

    Examples:
        >>> Request("generate_png", {"seed": np.arange(2), "psi": np.ones(2, np.float32)}).batch
        2
    """

    signature: str
    inputs: dict[str, np.ndarray]

    @property
    def batch(self) -> int:
        return len(next(iter(self.inputs.values())))


def check_batch_sizes(sizes: Sequence[int], max_batch: int | None, num_signatures: int) -> None:
    """Raise ValueError for batch sizes that a server would reject."""
    given = f"warmup_batch_sizes={','.join(map(str, sizes))}"
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{given}: give at least one size, each of at least one image")
    if max_batch is not None and max(sizes) > max_batch:
        raise ValueError(f"{given}: none may exceed max_batch={max_batch}")
    if len(sizes) * num_signatures > _MAX_WARMUP_REQUESTS:
        most = _MAX_WARMUP_REQUESTS // num_signatures
        raise ValueError(f"{given}: give at most {most} sizes for {num_signatures} signatures")


def reference_requests(
    generator: Any, batch_sizes: Iterable[int], classes: Sequence[str] = (), label_scale: LabelScale | None = None
) -> list[Request]:
    """Return one request per signature and batch size; `classes` and `label_scale` are those of the export.

    All inputs have N rows, even `psi`, `mask` and `scale`, because a batching server rejects others.
    """
    return [request for size in batch_sizes for request in _requests_of_size(generator, size, classes, label_scale)]


def _requests_of_size(
    generator: Any, size: int, classes: Sequence[str], label_scale: LabelScale | None
) -> list[Request]:
    config = generator.config
    seed = np.arange(size, dtype=np.int64) + 2**32 - size
    z = z_from_seeds(seed, config.z_dim)
    condition = {"psi": np.linspace(1.0, 0.5, size, dtype=np.float32)}
    if config.label_dim:
        condition["label"] = labels_in_turn(size, config.label_dim)
    ws = _map(generator, {"z": z, **condition})
    synthesis = {"ws": ws}
    if generator.supports_transform:
        synthesis["transform"] = np.tile(transform_matrix(0.3, 0.1, -0.05), (size, 1, 1))
    scale = 1 if any(side % 2 for side in size_of(config.resolution)) else 2
    odd_layers = np.arange(generator.num_ws, dtype=np.float32) % 2
    inputs: dict[str, dict[str, np.ndarray]] = {
        "serving_default": {"z": z, **condition},
        "generate": {"z": z, **condition},
        "generate_png": {"seed": seed, **condition},
        "map": {"z": z, **condition},
        "synthesize": synthesis,
        "synthesize_float": synthesis,
        "synthesize_png": {**synthesis, "scale": np.full(size, scale, np.int32)},
        "mix": {"ws_a": ws, "ws_b": 2 * ws, "mask": np.tile(odd_layers, (size, 1))},
    }
    if label_scale:
        inputs["label_scale"] = {"number": np.arange(size, dtype=np.int64) % config.label_dim}
    elif config.label_dim > 1:
        names = [*map(str, range(config.label_dim)), *classes]
        plain = [name for name in classes if "," not in name and name == name.strip()]
        if plain:  # others cannot be part of a list
            names.append(",".join(plain[:2]))
        by_class = {"class_name": np.array([names[-1 - i % len(names)] for i in range(size)], object)}
        inputs["label"] = by_class
        for name in ("generate", "generate_png", "map"):
            inputs[f"{name}_class"] = {key: rows for key, rows in inputs[name].items() if key != "label"} | by_class
        if classes:
            inputs["class_name"] = {"number": np.arange(size, dtype=np.int64)[::-1] % len(classes)}
    return [Request(signature, arrays) for signature, arrays in inputs.items()]


def write_warmup_requests(file: Path, requests: Iterable[Request]) -> None:
    """Write requests as TFRecords of PredictionLog."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            call = predict_pb2.PredictRequest()
            call.model_spec.signature_name = request.signature
            for name, value in request.inputs.items():
                call.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=call))
            writer.write(log.SerializeToString())


# --- Expected answers -------------------------------------------------------------------------------------------------


class ReferenceModel:
    """The expected answers, computed by the generator without its serving signatures.

    Seeds and style mixing are computed in NumPy, to test the graph's versions. The synthesis runs as the export does in
    `serving.stock_loader`: on the CPU, and compiled only if the export is, because other devices and compilers round
    16-bit numbers differently.

    Args:
        generator: `sg3tf.Generator`, built.
        xla: True if its synthesis was exported for XLA.
        classes: names of the classes in the export.
        label_scale: scale of the labels in the export.

    Examples:
        >>> import sg3tf
        >>> G = sg3tf.Generator.from_preset("stylegan2", resolution=8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
        >>> request = reference_requests(G, [2])[0]
        >>> ReferenceModel(G, xla=False).predict(request)["images"].shape
        (2, 8, 8, 3)
    """

    def __init__(
        self, generator: Any, xla: bool, classes: Sequence[str] = (), label_scale: LabelScale | None = None
    ) -> None:
        self._generator = generator
        self._classes, self._label_scale = list(classes), label_scale
        specs = [tf.TensorSpec([None, generator.num_ws, generator.config.w_dim], tf.float32)]
        if generator.supports_transform:
            specs.append(tf.TensorSpec([None, 3, 3], tf.float32))

        def synthesis(ws: tf.Tensor, transform: tf.Tensor | None = None) -> tf.Tensor:
            return generator.synthesis(ws, transform=transform)

        self._synthesis = tf.function(synthesis, specs, autograph=False, jit_compile=xla or None)

    def predict(self, request: Request) -> dict[str, np.ndarray]:
        """Return arrays by output name; PNG files decoded, uint8 [N, H, W, C]."""
        inputs, signature = request.inputs, request.signature.removesuffix("_class")
        if "class_name" in inputs:
            dim = self._generator.config.label_dim
            labels: Any = [label_of(name, self._classes, dim) for name in inputs["class_name"]]
            inputs = {**inputs, "label": np.stack(labels)}
        match signature:
            case "map":
                return {"ws": _map(self._generator, inputs)}
            case "label":
                return {"label": inputs["label"]}
            case "class_name":
                return {"class_name": np.array([self._classes[i].encode() for i in inputs["number"]], object)}
            case "label_scale" if self._label_scale:
                mean, std = self._label_scale.mean, self._label_scale.std
                return {"label_scale": np.array([[mean[i], std[i]] for i in inputs["number"]])}
            case "synthesize":
                return {"images": images.to_uint8(self._synthesize(**inputs))}
            case "synthesize_float":
                return {"images": self._synthesize(**inputs)}
            case "synthesize_png":
                pictures = images.to_uint8(self._synthesize(inputs["ws"], inputs.get("transform")))
                return {"png_bytes": _reduced(pictures, int(inputs["scale"][0]))}  # all are equal
            case "mix":
                layers = np.flatnonzero(inputs["mask"][0]).tolist()  # all rows are equal
                return {"images": images.to_uint8(self._synthesize(mix(inputs["ws_a"], inputs["ws_b"], layers)))}
            case "generate_png":
                z = z_from_seeds(inputs["seed"], self._generator.config.z_dim)
                ws = _map(self._generator, {**inputs, "z": z})
                return {"png_bytes": images.to_uint8(self._synthesize(ws))}
            case _:
                return {"images": images.to_uint8(self._synthesize(_map(self._generator, inputs)))}

    def _synthesize(self, ws: np.ndarray, transform: np.ndarray | None = None) -> np.ndarray:
        inputs = [ws]
        if self._generator.supports_transform:
            identity = np.tile(np.eye(3, dtype=np.float32), (len(ws), 1, 1))
            inputs.append(identity if transform is None else transform)
        with tf.device("CPU"), ops.use_backend("matmul"):
            return self._synthesis(*inputs).numpy()


def _reduced(pictures: np.ndarray, scale: int) -> np.ndarray:
    """Average squares of `scale` x `scale` pixels; uint8 [N, H, W, C], where H and W are multiples of `scale`."""
    count, height, width, channels = pictures.shape
    squares = pictures.reshape(count, height // scale, scale, width // scale, scale, channels)
    return images.to_uint8(images.to_float(squares.mean((2, 4), dtype=np.float32)))


def _map(generator: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    with tf.device("CPU"):
        return generator.mapping(inputs["z"], inputs.get("label"), truncation_psi=inputs["psi"]).numpy()


# --- Answers of the exported model, and the comparison ----------------------------------------------------------------


def validate_export(folder: Path, reference: ReferenceModel, requests: Sequence[Request]) -> dict[str, Any]:
    """Answer the warm-up requests in `folder` in a process without this project, and compare.

    Args:
        folder: version folder with the requests as its warm-up file.
        reference: model that computes the expected answers.
        requests: the requests of the warm-up file.

    Returns:
        Load time, latencies on this machine's CPU and the largest difference, for the metadata.

    Raises:
        ValidationError: the version cannot be loaded, an answer is missing, or one differs.
    """
    with scratch_folder() as scratch:
        file = scratch / "answers"
        with literal_folder(folder.resolve()) as literal:
            timings = run_isolated("stock_loader.py", literal, file)
        differences = []
        for request, answer in zip(requests, _read_answers(file), strict=True):
            if request.signature != "generate":  # the same as serving_default, which is before it
                expected = reference.predict(request)
            where = f"signature {request.signature}, batch {request.batch}"
            differences.append(largest_difference(where, expected, answer))
    return {
        "device": "CPU",
        "load_ms": timings["load_ms"],
        "latencies_ms": [
            {"signature": request.signature, "batch": request.batch, "first": first, "second": second}
            for request, (first, second) in zip(requests, timings["latencies_ms"], strict=True)
        ],
        "largest_difference": max(differences),
    }


def run_isolated(script: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a script of this folder in a process without this project, and return what it prints.

    Args:
        script: name of the script.
        arguments: its arguments after a JSON list of folders with packages. The last is a file in a temporary folder,
            where the process runs.

    Raises:
        ValidationError: the script failed; the message is the last line of its stderr.
    """
    # An isolated process (-I) that gets this process's package folders, because TensorFlow may be on PYTHONPATH or
    # installed for the user only.
    command = [sys.executable, "-I", str(Path(__file__).with_name(script)), json.dumps(sys.path), *map(str, arguments)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, cwd=Path(arguments[-1]).parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode < 0:
        raise ValidationError(f"the process that loads the export was killed by signal {-done.returncode}: free memory")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ValidationError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _read_answers(file: Path) -> Iterator[dict[str, np.ndarray]]:
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        outputs = predict_pb2.PredictResponse.FromString(record).outputs
        arrays = {name: tf.make_ndarray(value) for name, value in outputs.items()}
        if "png_bytes" in arrays:
            arrays["png_bytes"] = np.stack([_decode_png(png) for png in arrays["png_bytes"]])
        yield arrays


def _decode_png(png: bytes) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(png)))
    return image if image.ndim == 3 else image[:, :, None]


def largest(array: np.ndarray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max())


def root_mean_square(array: np.ndarray) -> float:
    """Return the root of the mean of squares."""
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))


def largest_difference(
    where: str,
    expected: dict[str, np.ndarray],
    answer: dict[str, np.ndarray],
    tolerance: float = TOLERANCE,
    norm: Callable[[np.ndarray], float] = largest,
) -> float:
    """Return the largest difference of a float output, relative to the expected values.

    Args:
        where: description of the request, for errors.
        expected, answer: arrays by output name.
        tolerance: largest allowed difference of a float output.
        norm: function that measures the size of a difference and of the expected values.

    Raises:
        ValidationError: an output is missing, has another shape or type, or differs by more than the tolerance.
    """
    if set(answer) != set(expected):
        raise ValidationError(f"{where}: outputs {sorted(answer)} instead of {sorted(expected)}")
    most = 0.0
    for name, want in expected.items():
        got = answer[name]
        if (got.shape, got.dtype) != (want.shape, want.dtype):
            raise ValidationError(f"{where}: {name} is {got.dtype}{got.shape}, not {want.dtype}{want.shape}")
        if got.dtype == object:  # texts
            if got.tolist() != want.tolist():
                raise ValidationError(f"{where}: {name} is {got.tolist()}, not {want.tolist()}")
            continue
        if not np.isfinite(got).all():
            raise ValidationError(f"{where}: {name} is not finite")
        is_float = got.dtype != np.uint8
        difference = (norm if is_float else largest)(got.astype(np.float64) - want)
        allowed = tolerance * norm(want) if is_float else _UINT8_TOLERANCE
        if not difference <= allowed:
            raise ValidationError(
                f"{where}: {name} differs from the generator's by {difference:.3g}; {allowed:.3g} is allowed"
            )
        if is_float:
            most = max(most, difference / max(norm(want), 1e-30))
    return most
