"""Client for a served generator: arrays in, images out, over gRPC and without TensorFlow.

It works with both the embedded server (serving.server) and TensorFlow Serving.
"""

from __future__ import annotations

import itertools
import os
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import grpc
import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf import latents
from sg3tf.utils.hosts import is_loopback, without_brackets
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.protobuf import message_classes

Array = NDArray[Any]

#: HTTP header and gRPC metadata entry that hold the key.
API_KEY_HEADER = "x-api-key"

# --- Messages of TensorFlow Serving ----------------------------------------------------------------------------------

# The fields used here from tensorflow_serving/apis/*.proto and the TensorFlow messages in them. The generated classes
# would import TensorFlow, which takes seconds.
_MESSAGES = message_classes(
    "sg3tf.serving",
    """
    message Dim {
      int64 size = 1;
    }
    message TensorShapeProto {
      repeated Dim dim = 2;
      bool unknown_rank = 3;
    }
    message TensorProto {
      int32 dtype = 1;
      TensorShapeProto tensor_shape = 2;
      bytes tensor_content = 4;
      repeated float float_val = 5;
      repeated double double_val = 6;
      repeated int32 int_val = 7;
      repeated bytes string_val = 8;
      repeated int64 int64_val = 10;
      repeated bool bool_val = 11;
      repeated int32 half_val = 13;
      repeated uint32 uint32_val = 16;
      repeated uint64 uint64_val = 17;
    }
    message TensorInfo {
      int32 dtype = 2;
      TensorShapeProto tensor_shape = 3;
    }
    message SignatureDef {
      map<string, TensorInfo> inputs = 1;
      map<string, TensorInfo> outputs = 2;
    }
    message SignatureDefMap {
      map<string, SignatureDef> signature_def = 1;
    }
    message Int64Value {
      int64 value = 1;
    }
    message Any {
      string type_url = 1;
      bytes value = 2;
    }
    message ModelSpec {
      string name = 1;
      Int64Value version = 2;
      string signature_name = 3;
    }
    message PredictRequest {
      ModelSpec model_spec = 1;
      map<string, TensorProto> inputs = 2;
    }
    message PredictResponse {
      map<string, TensorProto> outputs = 1;
    }
    message GetModelMetadataRequest {
      ModelSpec model_spec = 1;
      repeated string metadata_field = 2;
    }
    message GetModelMetadataResponse {
      ModelSpec model_spec = 1;
      map<string, Any> metadata = 2;
    }
    """,
)
_SERVICE = "/tensorflow.serving.PredictionService/"

_STRING = 7
#: tensorflow.DataType -> (NumPy dtype, TensorProto field with its values)
TENSOR_TYPES: dict[int, tuple[Any, str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    4: (np.dtype(np.uint8), "int_val"),
    5: (np.dtype(np.int16), "int_val"),
    6: (np.dtype(np.int8), "int_val"),
    _STRING: (np.dtype(object), "string_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
    14: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    17: (np.dtype(np.uint16), "int_val"),
    19: (np.dtype(np.float16), "half_val"),
    22: (np.dtype(np.uint32), "uint32_val"),
    23: (np.dtype(np.uint64), "uint64_val"),
}
_NUMBERS = {dtype: number for number, (dtype, _) in TENSOR_TYPES.items()}


def tensor_from_array(value: ArrayLike) -> Any:
    """Return a TensorProto of numbers, strings or bytes.

    Raises:
        ValueError: unsupported dtype.
    """
    array = np.asarray(value)
    if array.dtype.kind in "SU" and not isinstance(value, np.ndarray):
        array = np.asarray(value, object)  # NumPy's bytes dtype drops trailing zeros
    if array.dtype.kind in "SUO":
        proto = _MESSAGES["TensorProto"](dtype=_STRING)
        proto.string_val.extend(text.encode() if isinstance(text, str) else text for text in array.ravel().tolist())
    elif array.dtype in _NUMBERS:
        proto = _MESSAGES["TensorProto"](dtype=_NUMBERS[array.dtype], tensor_content=array.tobytes())
    else:
        raise ValueError(f"array of type {array.dtype}: give numbers, strings or bytes")
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def array_from_tensor(proto: Any) -> Array:
    """Return the array in a TensorProto; strings become an array of bytes objects.

    Raises:
        ValueError: unsupported dtype.
    """
    if proto.dtype not in TENSOR_TYPES:
        raise ValueError(f"tensor of the unknown DataType {proto.dtype}")
    dtype, field = TENSOR_TYPES[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content and proto.dtype == _STRING:
        return _string_array(_split_strings(proto.tensor_content, int(np.prod(shape)))).reshape(shape)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape).copy()
    values = getattr(proto, field)
    if proto.dtype == _STRING:
        array = _string_array(values)
    else:
        array = np.array(values, np.uint16).view(dtype) if field == "half_val" else np.array(values, dtype)
    missing = int(np.prod(shape)) - len(array)  # repetitions of the last value may be omitted
    if missing > 0:
        first = _string_array([b""]) if proto.dtype == _STRING else np.zeros(1, dtype)
        fill = array[-1:] if len(array) else first
        array = np.concatenate([array, np.repeat(fill, missing)])
    return array.reshape(shape)


def _string_array(values: Iterable[bytes]) -> Array:
    strings = list(values)
    array = np.empty(len(strings), object)
    array[:] = strings
    return array


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Split TensorFlow's encoding of strings as tensor_content: all lengths as varints, then all bytes."""
    lengths: list[int] = []
    start = length = shift = 0
    while len(lengths) < count and start < len(content):
        length |= (content[start] & 127) << shift
        shift += 7
        if content[start] < 128:
            lengths.append(length)
            length = shift = 0
        start += 1
    if len(lengths) < count or start + sum(lengths) != len(content):
        raise ValueError("tensor_content has strings that end early")
    ends = np.cumsum([start, *lengths]).tolist()
    return [content[first:last] for first, last in itertools.pairwise(ends)]


# --- Retries ---------------------------------------------------------------------------------------------------------

# Every request is a pure function of its inputs, so retries are always safe. They help only if the next answer may
# differ: no server is listening, the connection broke, the queue is full, or too many requests are in flight. Bad
# input, requests that are too large, and failures inside the model would recur, and after the deadline there is no
# time left.
RETRIED_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

# Messages of RESOURCE_EXHAUSTED for a request above the size limit: gRPC's own, and the embedded server's for a tensor.
_TOO_LARGE = re.compile(r"message larger than max|bytes; at most \d+ are accepted")

Answer = TypeVar("Answer")


class Retries:
    """Bounded number of attempts with exponential backoff: waits double, with a jitter of half their length.

    Args:
        attempts: maximum number of attempts, including the first; 1 for no retries.
        first_wait_s: mean wait before the second attempt, in seconds.
        seed: seed of the jitter; None differs between processes, so that clients do not all return at once.

    Raises:
        ValueError: attempts is less than 1.

    Examples:
        >>> [round(wait, 2) for wait in Retries(attempts=4, first_wait_s=0.2, seed=0).waits()]
        [0.23, 0.31, 0.43]
    """

    def __init__(self, attempts: int = 4, first_wait_s: float = 0.2, seed: int | None = None):
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: give at least 1")
        self._attempts, self._first_wait_s = attempts, first_wait_s
        self._rng = np.random.default_rng(seed)

    def waits(self) -> Iterator[float]:
        """Yield the seconds between one attempt and the next."""
        for number in range(self._attempts - 1):
            yield self._first_wait_s * 2**number * self._rng.uniform(0.5, 1.5)

    def run(self, send: Callable[[float], Answer], timeout_s: float) -> Answer:
        """Return the first answer.

        Args:
            send: makes one attempt, given the remaining time in seconds.
            timeout_s: limit for all attempts and waits together, in seconds.

        Raises:
            grpc.RpcError: error of the last attempt; raised at once if retrying cannot help or would take too long.
        """
        end = time.monotonic() + timeout_s
        for wait in self.waits():
            try:
                return send(end - time.monotonic())
            except grpc.RpcError as error:
                if error.code() not in RETRIED_CODES or _is_too_large(error) or time.monotonic() + wait >= end:
                    raise
            time.sleep(wait)
        return send(end - time.monotonic())


def _is_too_large(error: grpc.RpcError) -> bool:
    too_much = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return too_much and _TOO_LARGE.search(error.details() or "") is not None


# --- Connection ------------------------------------------------------------------------------------------------------

_CHANNEL_OPTIONS = [
    # gRPC's default limit of 4 MiB holds less than two 1024x1024 images.
    ("grpc.max_receive_message_length", -1),
    # After a refused connection, gRPC would wait a second to reconnect, and retries would fail unsent.
    ("grpc.initial_reconnect_backoff_ms", 100),
]


# gRPC's environment variables, in order of precedence; only in lower case.
_PROXY = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY = ("no_grpc_proxy", "no_proxy")


def open_channel(server: str, ssl_ca_file: str | None) -> grpc.Channel:
    """Open a channel to HOST:PORT.

    Args:
        server: HOST:PORT.
        ssl_ca_file: PEM file with trusted certificates; None for plain text.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has no certificates.
    """
    # A proxy cannot reach this machine's loopback address, or would reach its own.
    options = [*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback(_host(server)) else 1)]
    if ssl_ca_file is None:
        return grpc.insecure_channel(server, options)
    text = Path(ssl_ca_file).read_bytes()
    try:
        ssl.create_default_context(cadata=text.decode())
    except (ssl.SSLError, ValueError) as error:  # gRPC itself would only report that it cannot connect
        raise ValueError(f"ssl_ca_file={ssl_ca_file} has no certificate in PEM form ({error})") from error
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(text), options)


def _host(server: str) -> str:
    return server.rpartition(":")[0]


def proxy_variable(server: str) -> str | None:
    """Return the environment variable with the HTTP proxy that gRPC uses for HOST:PORT, or None.

    Examples:
        >>> proxy_variable("127.0.0.1:8500") is None
        True
    """
    host = without_brackets(_host(server))
    direct = [entry.strip() for name in _NO_PROXY for entry in os.environ.get(name, "").split(",")]
    if is_loopback(host) or any(entry and host.endswith(entry) for entry in direct):
        return None
    return next((name for name in _PROXY if os.environ.get(name)), None)


def api_key_metadata(api_key_file: str | None) -> list[tuple[str, str]]:
    """Return the metadata for each request: the key in the file, as `x-api-key`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has no key, or one that cannot be sent.
    """
    if api_key_file is None:
        return []
    return [(API_KEY_HEADER, read_api_key(api_key_file))]


def read_api_key(file: str | os.PathLike[str]) -> str:
    """Return the key in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not hold one line of printable ASCII.
    """
    key = Path(file).read_text(encoding="utf-8", errors="replace").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"api_key_file={file} must hold one line of printable ASCII: the key")
    return key


class ServingError(ConnectionError):
    """The server could not be reached, or rejected the request; the message names the remedy.

    Attributes:
        code: gRPC's status code.
    """

    def __init__(self, message: str, code: grpc.StatusCode):
        super().__init__(message)
        self.code = code


# Messages about too many images in a request: from the embedded server, an export with --max_batch, and TensorFlow
# Serving's batching.
_ROW_LIMIT = re.compile(r"(?:send at most|takes at most|larger than maximum input batch size) (\d+)")


class Signature(NamedTuple):
    """Shapes of a signature's inputs and outputs by name, with None for an unknown size or rank.

    Examples:
        >>> signature = Signature({"ws": (None, 16, 512)}, {"images": (None, 32, 32, 3)})
        >>> signature.inputs["ws"][-1], signature.input_dim("ws"), signature.input_dim("label")
        (512, 512, 0)
    """

    inputs: dict[str, tuple[int | None, ...] | None]
    outputs: dict[str, tuple[int | None, ...] | None]

    def input_dim(self, name: str) -> int:
        """Return the last dimension of an input; 0 if there is no such input, or its size is unknown."""
        shape = self.inputs.get(name)
        return (shape[-1] or 0) if shape else 0


class Client:
    """Connection to one model on one server. Close it after use, or use it in a `with` block.

    Every method raises `ServingError` if the server is unreachable, too slow, or rejects the request. Requests to a
    server that is down or too busy are retried within the deadline. If there are more images than the server accepts
    per request, they are split into several requests.

    Args:
        server: HOST:PORT of the gRPC port.
        model: name of the model on the server.
        version: version number; None for the newest.
        timeout_s: deadline of each call, including retries, in seconds.
        ssl_ca_file: PEM file with trusted certificates; None for no TLS.
        api_key_file: file with the key to send with every request; without TLS, it is sent in plain text.
        retries: number of attempts and waits between them; None for `Retries()`.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file has the wrong content.

    Examples:
        >>> with Client("127.0.0.1:8500", "sg3") as client:  # doctest: +SKIP
        ...     images = client.generate(seeds=[0, 1, 2], psi=0.7)
    """

    def __init__(
        self,
        server: str = "127.0.0.1:8500",
        model: str = "sg3",
        version: int | None = None,
        timeout_s: float = 60.0,
        ssl_ca_file: str | None = None,
        api_key_file: str | None = None,
        retries: Retries | None = None,
    ):
        self._server, self._model, self._version = server, model, version
        self._timeout_s, self._retries = timeout_s, retries or Retries()
        self._max_rows: int | None = None  # unknown until the server rejects a larger request
        self._metadata = api_key_metadata(api_key_file)
        self._channel = open_channel(server, ssl_ca_file)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def generate(
        self,
        z: ArrayLike | None = None,
        *,
        seeds: Sequence[int] | None = None,
        psi: ArrayLike = 1.0,
        label: ArrayLike | None = None,
        class_name: str | Sequence[str] | None = None,
    ) -> Array:
        """Return images for latents or seeds.

        Args:
            z: [N, z_dim] float32; or give `seeds`, N integers from 0 to 2**32-1.
            psi: truncation, scalar or [N]; 1 for none, 0 for the average image.
            label: [N, label_dim] float32, or [label_dim] for all; only for a conditional model.
            class_name: instead of `label`, N class names or numbers as text, or one for all; separate several classes
                of one image by commas.

        Returns:
            [N, H, W, C] uint8.

        Raises:
            ValueError: both or neither of `z` and `seeds`, both `label` and `class_name`, or arrays with different
                numbers of rows.
        """
        return self._predict_mapping("generate", self._latents(z, seeds), psi, label, class_name)

    def generate_png(
        self,
        seeds: Sequence[int],
        psi: ArrayLike = 1.0,
        label: ArrayLike | None = None,
        class_name: str | Sequence[str] | None = None,
    ) -> list[bytes]:
        """Return PNG files for N seeds, encoded on the server; arguments as in `generate`."""
        seed = {"seed": np.asarray(seeds, np.int64)}
        return list(self._predict_mapping("generate_png", seed, psi, label, class_name))

    def map(
        self,
        z: ArrayLike | None = None,
        *,
        seeds: Sequence[int] | None = None,
        psi: ArrayLike = 1.0,
        label: ArrayLike | None = None,
        class_name: str | Sequence[str] | None = None,
    ) -> Array:
        """Return style vectors [N, num_ws, w_dim] float32; arguments as in `generate`."""
        return self._predict_mapping("map", self._latents(z, seeds), psi, label, class_name)

    def synthesize(self, ws: ArrayLike, transform: ArrayLike | None = None) -> Array:
        """Return images for style vectors.

        Args:
            ws: [N, num_ws, w_dim] float32.
            transform: [3, 3] or [N, 3, 3] float32, inverse transform of the image, or None. Must be None for a model
                without this input, such as StyleGAN2.

        Returns:
            [N, H, W, C] uint8.

        Raises:
            ValueError: wrong shape of the transform.
        """
        ws = _float32(ws)
        if transform is None and not self.input_dim("transform", "synthesize"):
            return self._predict_rows("synthesize", {"ws": ws})
        matrix = _float32(np.eye(3) if transform is None else transform)
        if matrix.shape not in ((3, 3), (len(ws), 3, 3)):
            raise ValueError(f"transform of shape {list(matrix.shape)}: give [3, 3] or [{len(ws)}, 3, 3]")
        inputs = {"ws": ws, "transform": np.broadcast_to(matrix, (len(ws), 3, 3))}
        return self._predict_rows("synthesize", inputs)

    def mix(self, ws_a: ArrayLike, ws_b: ArrayLike, mask: ArrayLike) -> Array:
        """Return images for `ws_a`, with the layers where `mask` is 1 taken from `ws_b`.

        Args:
            ws_a, ws_b: [N, num_ws, w_dim] float32.
            mask: [num_ws] or [N, num_ws], from 0 to 1.

        Returns:
            [N, H, W, C] uint8.
        """
        ws_a = _float32(ws_a)
        inputs = {"ws_a": ws_a, "ws_b": _float32(ws_b), "mask": _per_image(mask, 1, len(ws_a))}
        return self._predict_rows("mix", inputs)

    def class_names(self, signatures: Mapping[str, Signature] | None = None) -> list[str]:
        """Return the class names in the order of the label; [] if the export has none.

        Args:
            signatures: those that `metadata` returned; None to ask the server for them.
        """
        names = self._about_label("class_name", signatures)
        return [] if names is None else [name.decode() for name in names]

    def label_scale(self, signatures: Mapping[str, Signature] | None = None) -> LabelScale | None:
        """Return the scale of labels before the data set standardized them; None if it did not.

        Args:
            signatures: those that `metadata` returned; None to ask the server for them.
        """
        rows = self._about_label("label_scale", signatures)
        if rows is None:
            return None
        mean, std = rows.T.tolist()
        return LabelScale(tuple(mean), tuple(std))

    def _about_label(self, signature: str, signatures: Mapping[str, Signature] | None) -> Array | None:
        """Return a row for each number of a label from a signature that takes its position; None without it."""
        signatures = self.metadata() if signatures is None else signatures
        if not {signature, "generate"} <= signatures.keys():
            return None
        numbers = np.arange(signatures["generate"].input_dim("label"), dtype=np.int64)
        return self._predict_rows(signature, {"number": numbers})

    def metadata(self) -> dict[str, Signature]:
        """Return the model's signatures by name."""
        response = self._model_metadata()
        found = _MESSAGES["SignatureDefMap"].FromString(response.metadata["signature_def"].value).signature_def
        return {
            name: Signature(
                {key: _shape(info.tensor_shape) for key, info in definition.inputs.items()},
                {key: _shape(info.tensor_shape) for key, info in definition.outputs.items()},
            )
            for name, definition in found.items()
        }

    def version(self) -> int:
        """Return the version number of the model that answers."""
        return int(self._model_metadata().model_spec.version.value)

    def _model_metadata(self) -> Any:
        return self._call("GetModelMetadata", _MESSAGES["GetModelMetadataRequest"](metadata_field=["signature_def"]))

    def input_dim(self, name: str, signature: str = "generate") -> int:
        """Return the last dimension of an input, such as "z" or "label"; 0 if there is no such input."""
        signatures = self.metadata()
        if signature not in signatures:
            known = ", ".join(sorted(signatures))
            message = f"{self._model} at {self._server} has no signature {signature}, only {known}"
            raise ServingError(message, grpc.StatusCode.NOT_FOUND)
        return signatures[signature].input_dim(name)

    def predict(self, signature: str, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Call any signature in one request: {input name: array} -> {output name: array}."""
        request = _MESSAGES["PredictRequest"]()
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tensor_from_array(value))
        response = self._call("Predict", request)
        return {name: array_from_tensor(proto) for name, proto in response.outputs.items()}

    def _predict_rows(self, signature: str, inputs: Mapping[str, Array]) -> Array:
        """Call a signature with one output, in as many requests as the server's limit on images requires.

        Args:
            signature: its name.
            inputs: arrays with N rows each.

        Returns:
            The output, with N rows.

        Raises:
            ValueError: the arrays have different numbers of rows.
        """
        counts = {name: len(rows) for name, rows in inputs.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise ValueError(f"{listed} rows: give one row for each image")
        count = next(iter(counts.values()))
        parts: list[Array] = []
        start = 0
        while start < count or not parts:
            size = min(count - start, self._max_rows or count)
            try:
                answer = self.predict(signature, {name: rows[start : start + size] for name, rows in inputs.items()})
            except ServingError as error:
                limit = _ROW_LIMIT.search(str(error))
                if error.code != grpc.StatusCode.INVALID_ARGUMENT or not limit or not 0 < int(limit[1]) < size:
                    raise
                self._max_rows = int(limit[1])
                continue
            parts += answer.values()
            start += size
        return np.concatenate(parts)

    def _latents(self, z: ArrayLike | None, seeds: Sequence[int] | None) -> dict[str, Array]:
        if (z is None) == (seeds is None):
            raise ValueError("give one of z and seeds")
        if seeds is not None:
            z = latents.z_from_seeds(seeds, self.input_dim("z"))
        return {"z": _float32(z)}

    def _predict_mapping(
        self,
        signature: str,
        inputs: dict[str, Array],
        psi: ArrayLike,
        label: ArrayLike | None,
        class_name: str | Sequence[str] | None,
    ) -> Array:
        """Call a signature that maps latents, or its variant that takes class names; `inputs` are the latents."""
        count = len(next(iter(inputs.values())))
        inputs["psi"] = _per_image(psi, 0, count)
        if class_name is None:
            return self._predict_rows(signature, inputs | _label_input(label, count))
        if label is not None:
            raise ValueError("give one of label and class_name")
        names = [class_name] * count if isinstance(class_name, str) else list(class_name)
        if len(names) != count:
            raise ValueError(f"class_name has {len(names)} names: give one, or {count}, one per image")
        return self._predict_rows(f"{signature}_class", inputs | {"class_name": np.array(names, object)})

    def _call(self, method: str, request: Any) -> Any:
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        send = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=_MESSAGES[f"{method}Response"].FromString,
        )
        try:
            return self._retries.run(
                lambda seconds: send(request, timeout=seconds, metadata=self._metadata), self._timeout_s
            )
        except grpc.RpcError as error:
            raise ServingError(self._explain(error), error.code()) from error

    def _explain(self, error: grpc.RpcError) -> str:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            remedy = "start one with sg3tf serve, or correct the address or the TLS settings"
            if variable := proxy_variable(self._server):
                proxy = urlsplit(os.environ[variable]).netloc.rpartition("@")[2]  # without credentials
                remedy = (
                    f"the request went through the proxy {proxy} of {variable}; add the host to no_proxy, or {remedy}"
                )
            return f"no server answers at {self._server}, or its queue is full: {remedy} ({error.details()})"
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            remedy = "ask for fewer images at once or allow more time"
            return f"no answer from {self._server} within {self._timeout_s:g} s: {remedy}"
        if _is_too_large(error):
            return f"the request is too large for {self._server}, ask for fewer images at once: {error.details()}"
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
            return f"{self._server} is busy, try again later or ask for fewer images at once: {error.details()}"
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            return f"{self._server} requires a key, name the file that has it in api_key_file: {error.details()}"
        return f"{self._server} refused: {error.details()} ({error.code().name})"


def _shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def _float32(value: Any) -> Array:
    return np.asarray(value, np.float32)


def _per_image(value: ArrayLike, rank: int, count: int) -> Array:
    """Repeat a value of `rank` dimensions for every image: a batching stock server rejects inputs without rows."""
    array = _float32(value)
    rows = array if array.ndim > rank else array[None]
    return np.repeat(rows, count, axis=0) if len(rows) == 1 else rows


def _label_input(label: ArrayLike | None, count: int) -> dict[str, Array]:
    return {} if label is None else {"label": _per_image(label, 1, count)}
