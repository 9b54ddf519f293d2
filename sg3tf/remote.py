"""Client of a served generator, without TensorFlow."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from sg3tf import latents

# ---------------------------------------------------------------------------------------------------------------------
# Asking again when the server was busy or gone for a moment.
# ---------------------------------------------------------------------------------------------------------------------

# Every request is a pure function of its inputs, so asking again is always harmless. It helps only where the next
# answer may differ: nobody there or a broken connection, and a full queue or too many requests in flight. Bad input
# and failures inside the model stay what they are, and after the deadline there is no time left.
REPEATED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

Answer = TypeVar("Answer")


class Retries:
    """A bounded number of attempts, with waits that double and are spread by half of themselves.

    Args:
      attempts: at most, the first one included; 1 never repeats.
      first_wait_s: before the second attempt, in seconds, on average.
      seed: of the spread; None is another one in every process, so that clients do not return all at once.

    Raises:
      ValueError: less than one attempt.
    """

    def __init__(self, attempts: int = 4, first_wait_s: float = 0.2, seed: int | None = None):
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: give at least 1")
        self._attempts, self._first_wait_s = attempts, first_wait_s
        self._rng = np.random.default_rng(seed)

    def waits(self) -> Iterator[float]:
        """Seconds between one attempt and the next."""
        for number in range(self._attempts - 1):
            yield self._first_wait_s * 2**number * self._rng.uniform(0.5, 1.5)

    def run(self, send: Callable[[float], Answer], timeout_s: float) -> Answer:
        """The first answer.

        Args:
          send: one attempt, given the seconds that are left to it.
          timeout_s: of all attempts and waits together.

        Raises:
          grpc.RpcError: of the last attempt; at once where repeating cannot help or would end too late.
        """
        end = time.monotonic() + timeout_s
        for wait in self.waits():
            try:
                return send(end - time.monotonic())
            except grpc.RpcError as error:
                if error.code() not in REPEATED or time.monotonic() + wait >= end:
                    raise
            time.sleep(wait)
        return send(end - time.monotonic())


# ---------------------------------------------------------------------------------------------------------------------
# How a server is reached: plain or TLS, with or without an API key.
# ---------------------------------------------------------------------------------------------------------------------

_OPTIONS = [
    # gRPC's default limit of 4 MiB is less than two images of 1024 pixels.
    ("grpc.max_receive_message_length", -1),
    # After a refused connection gRPC would not try again for a second, and repeated requests would fail unsent.
    ("grpc.initial_reconnect_backoff_ms", 100),
]


def open_channel(server: str, ssl_ca_file: str | None) -> grpc.Channel:
    """A channel to HOST:PORT: TLS where `ssl_ca_file`, PEM, has the certificates to trust, else plain text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it has no certificates.
    """
    if ssl_ca_file is None:
        return grpc.insecure_channel(server, _OPTIONS)
    text = Path(ssl_ca_file).read_bytes()
    try:
        ssl.create_default_context(cadata=text.decode())
    except (ssl.SSLError, ValueError) as error:  # gRPC itself would only say that it cannot connect
        raise ValueError(f"ssl_ca_file={ssl_ca_file} has no certificate in PEM form ({error})") from error
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(text), _OPTIONS)


def key_metadata(api_key_file: str | None) -> list[tuple[str, str]]:
    """What is sent along with each request: the key that the file has, as `x-api-key`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it has no key, or one that cannot be sent.
    """
    if api_key_file is None:
        return []
    key = Path(api_key_file).read_text(encoding="utf-8", errors="replace").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"api_key_file={api_key_file} must hold one line of printable ASCII: the key")
    return [("x-api-key", key)]


# ---------------------------------------------------------------------------------------------------------------------
# A connection to a served generator: arrays in, images out, over gRPC.
#
# It works against the embedded server and TensorFlow Serving alike.
# ---------------------------------------------------------------------------------------------------------------------


class ServingError(RuntimeError):
    """The server could not be reached or refused; the message says what to do.

    Args:
      message: what happened, and the remedy.
      code: gRPC's status code.
    """

    def __init__(self, message: str, code: grpc.StatusCode):
        super().__init__(message)
        self.code = code


class Client:
    """A connection to one model of one server, to be closed after use.

    Every method raises `ServingError` when the server is unreachable, late, or refuses the request. A server that is
    gone or too busy is asked again, within the deadline.

    Args:
      server: HOST:PORT of the gRPC port.
      model: the model's name there.
      version: version number; None is the newest.
      timeout_s: deadline of each call with all its attempts, in seconds.
      ssl_ca_file: PEM file of the certificates to trust; None is no TLS.
      api_key_file: file of the key to send with every request; without TLS it travels readable.
      retries: how often to ask, and how long to wait between; None is `Retries()`.

    Raises:
      OSError: a file that cannot be read.
      ValueError: a file of something else.
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
        self._metadata = key_metadata(api_key_file)
        self._channel = open_channel(server, ssl_ca_file)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def generate(
        self,
        z: ArrayLike | None = None,
        *,
        seeds: Sequence[int] | None = None,
        psi: ArrayLike = 1.0,
        label: ArrayLike | None = None,
    ) -> np.ndarray:
        """Images of latents or of seeds.

        Args:
          z: [N, z_dim] float32, or give `seeds`: N integers from 0 to 2**32-1.
          psi: truncation, scalar or [N]; 1 is none, 0 is the average image.
          label: [N, label_dim] float32, or [label_dim] for all; for a model with labels only.

        Returns:
          [N, R, R, C] uint8.

        Raises:
          ValueError: both or neither of `z` and `seeds`.
        """
        inputs = self._mapping_inputs(z, seeds, psi, label)
        return self.predict("generate", inputs)["images"]

    def generate_png(self, seeds: Sequence[int], psi: ArrayLike = 1.0, label: ArrayLike | None = None) -> list[bytes]:
        """PNG files of N seeds, made on the server; arguments as in `generate`."""
        seed = np.asarray(seeds, np.int64)
        inputs = {"seed": seed, "psi": _for_each(psi, 0, len(seed)), **_label_input(label, len(seed))}
        return list(self.predict("generate_png", inputs)["png_bytes"])

    def map(
        self,
        z: ArrayLike | None = None,
        *,
        seeds: Sequence[int] | None = None,
        psi: ArrayLike = 1.0,
        label: ArrayLike | None = None,
    ) -> np.ndarray:
        """Intermediate latents, [N, num_ws, w_dim] float32; arguments as in `generate`."""
        return self.predict("map", self._mapping_inputs(z, seeds, psi, label))["ws"]

    def synthesize(self, ws: ArrayLike, transform: ArrayLike | None = None) -> np.ndarray:
        """Images of intermediate latents.

        Args:
          ws: [N, num_ws, w_dim] float32.
          transform: [3, 3] or [N, 3, 3] float32, inverse transform of the image; None is none, and all that a model
            without that input takes, such as StyleGAN2.

        Returns:
          [N, R, R, C] uint8.

        Raises:
          ValueError: a transform of another shape.
        """
        ws = _float32(ws)
        if transform is None and not self.input_dim("transform", "synthesize"):
            return self.predict("synthesize", {"ws": ws})["images"]
        matrix = _float32(np.eye(3) if transform is None else transform)
        if matrix.shape not in ((3, 3), (len(ws), 3, 3)):
            raise ValueError(f"transform of shape {list(matrix.shape)}: give [3, 3] or [{len(ws)}, 3, 3]")
        inputs = {"ws": ws, "transform": np.broadcast_to(matrix, (len(ws), 3, 3))}
        return self.predict("synthesize", inputs)["images"]

    def mix(self, ws_a: ArrayLike, ws_b: ArrayLike, mask: ArrayLike) -> np.ndarray:
        """Images of `ws_a` that take the layers where `mask` is 1 from `ws_b`.

        Args:
          ws_a, ws_b: [N, num_ws, w_dim] float32.
          mask: [num_ws] or [N, num_ws], from 0 to 1.

        Returns:
          [N, R, R, C] uint8.
        """
        ws_a = _float32(ws_a)
        inputs = {"ws_a": ws_a, "ws_b": _float32(ws_b), "mask": _for_each(mask, 1, len(ws_a))}
        return self.predict("mix", inputs)["images"]

    def metadata(self) -> dict[str, meta_graph_pb2.SignatureDef]:
        """Signature name -> its inputs and outputs."""
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.metadata_field.append("signature_def")
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def input_dim(self, name: str, signature: str = "generate") -> int:
        """The last dimension of an input, e.g. of "z" or "label"; 0 where there is no such input."""
        signatures = self.metadata()
        if signature not in signatures:
            known = ", ".join(sorted(signatures))
            message = f"{self._model} at {self._server} has no signature {signature}, only {known}"
            raise ServingError(message, grpc.StatusCode.NOT_FOUND)
        inputs = signatures[signature].inputs
        return inputs[name].tensor_shape.dim[-1].size if name in inputs else 0

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Any signature: input name -> array to output name -> array."""
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def _mapping_inputs(
        self,
        z: ArrayLike | None,
        seeds: Sequence[int] | None,
        psi: ArrayLike,
        label: ArrayLike | None,
    ) -> dict[str, np.ndarray]:
        if (z is None) == (seeds is None):
            raise ValueError("give one of z and seeds")
        if seeds is not None:
            z = latents.z_from_seeds(seeds, self.input_dim("z"))
        z = _float32(z)
        return {"z": z, "psi": _for_each(psi, 0, len(z)), **_label_input(label, len(z))}

    def _call(self, method: Any, request: Any) -> Any:
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        try:
            return self._retries.run(
                lambda seconds: method(request, timeout=seconds, metadata=self._metadata), self._timeout_s
            )
        except grpc.RpcError as error:
            raise ServingError(self._explain(error), error.code()) from error

    def _explain(self, error: grpc.RpcError) -> str:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            remedy = "start one with python -m serving.server, or correct the address or the TLS settings"
            return f"no server answers at {self._server}: {remedy} ({error.details()})"
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            remedy = "ask for fewer images at once or allow more time"
            return f"no answer from {self._server} within {self._timeout_s:g} s: {remedy}"
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
            return f"{self._server} is busy, ask again later or for fewer images at once: {error.details()}"
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            return f"{self._server} wants a key, name the file that has it in api_key_file: {error.details()}"
        return f"{self._server} refused: {error.details()} ({error.code().name})"


def _float32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


def _for_each(value: ArrayLike, rank: int, count: int) -> np.ndarray:
    """One of `rank` dimensions, repeated for every image: a stock server that batches refuses inputs without rows."""
    array = _float32(value)
    return array if array.ndim > rank else np.repeat(array[None], count, axis=0)


def _label_input(label: ArrayLike | None, count: int) -> dict[str, np.ndarray]:
    return {} if label is None else {"label": _for_each(label, 1, count)}
