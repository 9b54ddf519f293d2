"""Malformed requests to a TensorFlow Serving server from a grammar: valid in most parts, wrong in one or a few.

method, message = grpc_call(random.Random(0))
data, ends = http_request(random.Random(0))
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import random
from collections.abc import Callable
from typing import Any

from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2, predict_pb2

SERVICES = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
SIGNATURES = ["generate", "generate_png", "map", "mix", "synthesize", "serving_default", "", "none", "a" * 3000, "\0"]
INPUTS = ["z", "psi", "label", "seed", "ws", "ws_a", "ws_b", "mask", "transform", "scale", "", "é", "x" * 500]
NUMBERS = [0, 1, -1, 2, 3, 6, 2**31 - 1, 2**31, -(2**63), 2**63 - 1, 1e38, -0.0, float("nan"), float("inf"), 1e-45]
SIZES = [0, 1, 2, 3, 6, 12, -1, -2, 2**31, 2**40, 2**62, 2**63 - 1]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes, cut or repeat a part, or return bytes of nothing."""
    changed = bytearray(data or b"\0")
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        case 1:
            del changed[rng.randrange(len(changed)) :]
        case 2:
            start = rng.randrange(len(changed))
            changed[start:start] = changed[start : start + rng.randrange(64)] * rng.randint(1, 9)
        case _:
            changed = bytearray(rng.randbytes(rng.randrange(200)))
    return bytes(changed)


# --- gRPC -------------------------------------------------------------------------------------------------------------


def grpc_call(rng: random.Random) -> tuple[str, bytes]:
    """Path of a method, and the bytes of its message."""
    predict, models = SERVICES
    kinds: list[tuple[str, Callable[[random.Random], Any]]] = [
        *[(predict + "Predict", _predict)] * 6,
        (predict + "GetModelMetadata", _metadata),
        (models + "GetModelStatus", _status),
        (models + "HandleReloadConfigRequest", _reload),
        (predict + rng.choice(["Classify", "Regress", "MultiInference", "Nothing", ""]), _predict),
    ]
    method, make = rng.choice(kinds)
    data = make(rng).SerializeToString()
    return method, mutated(rng, data) if rng.random() < 0.3 else data


def _model(rng: random.Random, spec: Any) -> None:
    spec.name = "fake" if rng.random() < 0.9 else rng.choice(["", "fak", "../fake", "\0", "fake/versions/1"])
    match rng.randrange(8):
        case 0:
            spec.version.value = rng.choice([0, 1, 2, -1, 2**63 - 1, -(2**63)])
        case 1:
            spec.version_label = rng.choice(["stable", "", "é", "x" * 1000])


def _predict(rng: random.Random) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    _model(rng, request.model_spec)
    signature = request.model_spec.signature_name = rng.choice(SIGNATURES)
    names = {"generate": ["z", "psi", "label"], "map": ["z", "psi", "label"], "mix": ["ws_a", "ws_b", "mask"]}
    names |= {"generate_png": ["seed", "psi", "label"], "synthesize": ["ws", "transform"]}
    wrong = rng.random() < 0.3
    for name in names.get(signature, ["z", "psi", "label"]) if not wrong else rng.sample(INPUTS, rng.randrange(5)):
        _tensor(rng, request.inputs[name], name)
    if rng.random() < 0.1:
        request.output_filter.extend(rng.sample(["images", "ws", "", "png_bytes"], rng.randrange(3)))
    return request


def _tensor(rng: random.Random, tensor: tensor_pb2.TensorProto, name: str) -> None:
    """A tensor that fits the input of this name in half of the cases."""
    fits = {"z": (1, 6), "label": (1, 2), "psi": (1,), "seed": (1,), "ws": (1, 3, 4), "transform": (1, 3, 3)}
    shape = fits.get(name, (1, 3, 4))
    whole = {"seed": types_pb2.DT_INT64, "scale": types_pb2.DT_INT32}
    tensor.dtype = whole.get(name, types_pb2.DT_FLOAT)  # type: ignore[assignment]
    values = [1] * math.prod(shape)
    changes = rng.randrange(3) if rng.random() < 0.5 else 0
    for _ in range(changes):
        match rng.randrange(5):
            case 0:
                tensor.dtype = rng.choice([*types_pb2.DataType.values(), 77, 2**31 - 1])
            case 1:
                shape = tuple(rng.choice(SIZES) for _ in range(rng.randrange(6)))
            case 2:
                values = [rng.choice(NUMBERS) for _ in range(rng.randrange(20))]
            case 3:
                tensor.tensor_content = rng.randbytes(rng.choice([0, 1, 4, 24, 48, 1000]))
                values = []
            case _:
                tensor.tensor_shape.unknown_rank = True
    for size in shape:
        tensor.tensor_shape.dim.add(size=size, name=rng.choice(["", "n"]))
    field = {types_pb2.DT_INT64: "int64_val", types_pb2.DT_STRING: "string_val", types_pb2.DT_DOUBLE: "double_val"}
    field |= {types_pb2.DT_INT32: "int_val", types_pb2.DT_HALF: "half_val", types_pb2.DT_BOOL: "bool_val"}
    name = field.get(tensor.dtype, "float_val") if rng.random() < 0.9 else rng.choice([*field.values()])
    getattr(tensor, name).extend(_as_field(name, value) for value in values)


def _as_field(name: str, value: float) -> Any:
    if name == "string_val":
        return repr(value).encode()
    if name in ("float_val", "double_val"):
        return value
    finite = int(value) if abs(value) < 2**70 else 0  # NaN compares as False
    bits = {"int64_val": 63, "bool_val": 0}.get(name, 31)
    return bool(finite) if not bits else max(min(finite, 2**bits - 1), -(2**bits))


def _metadata(rng: random.Random) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    _model(rng, request.model_spec)
    request.metadata_field.extend(rng.choices(["signature_def", "", "x"], k=rng.randrange(3)))
    return request


def _status(rng: random.Random) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    _model(rng, request.model_spec)
    return request


def _reload(rng: random.Random) -> Any:
    """Configurations that are refused, or change nothing."""
    request = model_management_pb2.ReloadConfigRequest()
    for _ in range(rng.randrange(3)):
        config = request.config.model_config_list.config.add(name=rng.choice(["fake", "", "other"]))
        config.base_path = rng.choice(["", "/", "/proc/self", "../..", "\0", "gs://bucket"])
        if rng.random() < 0.3:  # of another model: the policy of this one would change
            config.name = "other"
            config.model_version_policy.specific.versions.extend(rng.choice([[], [-1], [77]]))
        if rng.random() < 0.3:
            config.version_labels[rng.choice(["", "stable"])] = rng.choice([0, -1, 77])
    return request


# --- HTTP -------------------------------------------------------------------------------------------------------------

PATHS = [
    *["/v1/models/fake:predict"] * 8,
    *["/v1/models/fake", "/v1/models/fake/metadata", "/v1/models/fake/versions/1:predict", "/", "", "*"],
    *["/v1/models/fake/labels/x:predict", "/v1/models/fake/versions/99999999999999999999", "/v1/models/%66ake"],
    *["/v1/models/fake:classify", "/v1/models/fake:regress", "/v1/models/fake:nothing", "/v1/models/other:predict"],
    *["/../../etc/passwd", "/explorer/../../x", "/v1/models/fake?x=%00", "http://127.0.0.1/v1/models/fake"],
    *["/v1/models/fak\xe9", "//", "/v1/models/" + "a" * 5000, "/" + "b" * 70_000, "/monitoring/prometheus/metrics"],
]
METHODS = [
    *["POST"] * 8,
    "GET",
    "GET",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "TRACE",
    "CONNECT",
    "BREW",
    "",
    "post",
    "\0",
]


def http_request(rng: random.Random) -> tuple[bytes, bool]:
    """Bytes of a request; True if its framing is right, so that an answer comes without an end of what is sent."""
    body = _body(rng)
    headers = []
    match rng.randrange(12):
        case 0:
            body = gzip.compress(body)
            headers.append("Content-Encoding: gzip")
        case 1:
            headers.append(f"Content-Encoding: {rng.choice(['gzip', 'deflate', 'br', '', 'identity, gzip'])}")
    well_framed = rng.random() < 0.6
    if well_framed:
        method, path, version = "POST", rng.choice(PATHS[:8] + PATHS[10:11]), "HTTP/1.1"
        if rng.random() < 0.2:
            headers.append("Transfer-Encoding: chunked")
            cut = rng.randrange(len(body) + 1)
            pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            headers.append(f"Content-Length: {len(body)}")
    else:
        method, path = rng.choice(METHODS), rng.choice(PATHS)
        version = rng.choice(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "JUNK"])
        lengths = [str(len(body)), "0", "-1", "+5", "0x10", "1e3", "", "9" * 30, str(2**40), "5, 5", "\u0665"]
        headers += [f"Content-Length: {rng.choice(lengths)}"] * rng.choice([0, 1, 1, 1, 2])
        codings = ["chunked", "gzip, chunked", "identity", "", "chunked, chunked"]
        headers += [f"Transfer-Encoding: {rng.choice(codings)}"] * rng.choice([0, 0, 0, 1, 2])
        odd = ["Expect: 100-continue", "no colon", " folded", "X: " + "y" * 70_000, ": empty", "A\0: b", "Host: \xff"]
        headers += rng.sample(odd, rng.choice([0, 0, 1, 2])) + ["X: y"] * rng.choice([0, 0, 0, 200])
    head = "\r\n".join([f"{method} {path} {version}", *headers, "", ""]).encode("utf-8")
    data = head + body
    if not well_framed and rng.random() < 0.5:
        data = mutated(rng, data)
    return data, well_framed


def _body(rng: random.Random) -> bytes:
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randrange(100))
        case 1:
            opened = rng.choice([b"[", b'{"instances":['])
            return opened * rng.choice([10, 100_000])
        case 2:
            return rng.choice(
                [b"", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe", b'{"instances": [1', b"NaN", b"1e999999"]
            )
    request: dict[str, Any] = {}
    if rng.random() < 0.5:
        request["signature_name"] = rng.choice([*SIGNATURES, None, 3, [], {"a": 1}, "\ud800"])
    columns = {"z": [[0] * 6], "psi": [1], "label": [[0, 1]], "seed": [3]}
    chosen = {name: columns[name] for name in (["z", "psi", "label"] if rng.random() < 0.7 else ["seed", "psi"])}
    for _ in range(rng.randrange(3)):
        chosen[rng.choice([*chosen, *INPUTS])] = _value(rng, 4)
    if rng.random() < 0.5:
        request["inputs"] = chosen if rng.random() < 0.9 else _value(rng, 3)
    else:
        rows = [{name: value[0] if isinstance(value, list) and value else value for name, value in chosen.items()}]
        request["instances"] = rows * rng.choice([1, 1, 2, 70]) if rng.random() < 0.9 else _value(rng, 3)
    if rng.random() < 0.1:
        request[rng.choice(["instances", "inputs", "x"])] = _value(rng, 2)
    text = json.dumps(request).encode()
    return mutated(rng, text) if rng.random() < 0.2 else text


def _value(rng: random.Random, depth: int) -> Any:
    """Any JSON value."""
    plain = [None, True, "", "text", "é\0", {"b64": base64.b64encode(b"x").decode()}, {"b64": "!"}, {"b64": 1}, {}, []]
    if depth == 0 or rng.random() < 0.4:
        return rng.choice([*plain, *NUMBERS, 10**400])
    if rng.random() < 0.8:
        same = _value(rng, depth - 1)
        return [same if rng.random() < 0.7 else _value(rng, depth - 1) for _ in range(rng.randrange(8))]
    return {rng.choice([*INPUTS, "b64"]): _value(rng, depth - 1) for _ in range(rng.randrange(4))}
