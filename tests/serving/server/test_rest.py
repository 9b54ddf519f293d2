"""The REST protocol in TensorFlow Serving's forms, with a plain HTTP client."""

import base64
import io
import json
import re
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

Z = np.random.default_rng(4).normal(size=(2, 6)).round(3)
LABEL = [[1, 0], [0, 1]]


@pytest.fixture(scope="module")
def call(server):
    def call(path, body=None, raw=None):
        data = raw if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(server.rest + path, data, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return call


def rows(**changes):
    named = [{"z": z.tolist(), "psi": 0.5, "label": label} for z, label in zip(Z, LABEL, strict=True)]
    return {"instances": named} | changes


def test_row_and_column_forms_agree(call, fake_generator):
    expected = fake_generator.images(Z, LABEL, 0.5)
    status, answer = call("/v1/models/fake:predict", rows())
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], expected, atol=1)
    columns = {"z": Z.tolist(), "psi": 0.5, "label": LABEL}
    body = {"signature_name": "generate", "inputs": columns}
    status, answer = call("/v1/models/fake/versions/2:predict", body)
    assert status == 200
    np.testing.assert_allclose(answer["outputs"], expected, atol=1)


def test_png_comes_as_base64(call, fake_generator):
    instances = [
        {"seed": 5, "psi": 1, "label": [0, 1]},
        {"seed": 2**32 - 1, "psi": 1, "label": [1, 0]},
    ]
    body = {"signature_name": "generate_png", "instances": instances}
    status, answer = call("/v1/models/fake:predict", body)
    assert status == 200
    z = np.stack([np.random.RandomState(i["seed"]).randn(6) for i in instances])
    expected = fake_generator.images(z, [i["label"] for i in instances])
    for value, image in zip(answer["predictions"], expected, strict=True):
        decoded = Image.open(io.BytesIO(base64.b64decode(value["b64"])))
        np.testing.assert_allclose(np.asarray(decoded, int), image, atol=1)


def test_classes_by_name(call):
    """In rows and in columns, like the labels."""
    seeds, names = [5, 6], ["manx", "0"]
    instances = [{"seed": seed, "psi": 1, "class_name": name} for seed, name in zip(seeds, names, strict=True)]
    status, answer = call("/v1/models/fake:predict", {"signature_name": "generate_png_class", "instances": instances})
    assert status == 200
    columns = {"seed": seeds, "psi": 1, "label": [[0, 1], [1, 0]]}
    _, expected = call("/v1/models/fake:predict", {"signature_name": "generate_png", "inputs": columns})
    assert answer["predictions"] == expected["outputs"]
    body = {
        "signature_name": "generate_class",
        "inputs": {"z": Z.tolist(), "psi": 1, "class_name": ["manx", "persian"]},
    }
    status, answer = call("/v1/models/fake:predict", body)
    assert status == 400 and "'class_name' is 'persian'; it must be a number from 0 to 1" in answer["error"]


def test_status_and_metadata(call):
    status, answer = call("/v1/models/fake")
    assert (status, answer) == (
        200,
        {
            "model_version_status": [
                {
                    "version": "2",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    )
    status, answer = call("/v1/models/fake/versions/2/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "fake", "signature_name": "", "version": "2"}
    z = answer["metadata"]["signature_def"]["signature_def"]["map"]["inputs"]["z"]
    assert z["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in z["tensor_shape"]["dim"]] == ["-1", "6"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/other:predict", rows(), 404, "other"),
        ("/v1/models/fake/versions/7:predict", rows(), 404, "fake, 7"),
        ("/v1/models/fake:predict", rows(signature_name="draw"), 404, "draw"),
        ("/v1/models/fake:predict", rows(signature_name=3), 400, "signature_name"),
        ("/v1/models/fake:predict", rows(inputs={}), 400, "instances"),
        ("/v1/models/fake:predict", {"instances": []}, 400, "at least one"),
        ("/v1/models/fake:predict", {"instances": [3]}, 400, "label, psi, z"),
        ("/v1/models/fake:predict", {"instances": [{"z": [1]}, {"psi": 1}]}, 400, "other inputs"),
        ("/v1/models/fake:predict", {"inputs": {"z": Z.tolist()}}, 400, "'psi' is missing"),
        ("/v1/models/fake:predict", {"inputs": {"z": [[1], [2, 3]]}}, 400, "'z' is not a rect"),
        ("/v1/models/fake:predict", {"inputs": {"z": [["1"] * 6]}}, 400, "'z' must hold float32"),
        (
            "/v1/models/fake:predict",
            {"signature_name": "generate_png", "inputs": {"seed": [2**63]}},
            400,
            "'seed' has a value outside of int64",
        ),
        ("/v1/models/fake:predict", rows(instances=[{"z": None, "psi": 1, "label": [0, 1]}]), 400, "'z' must hold"),
        ("/v1/models/fake:predict", {"inputs": {"z": [[1e39] * 6], "psi": 1, "label": [[0, 1]]}}, 400, "'z' has NaN"),
        ("/v1/models/fake:predict", {"inputs": {"z": [[0] * 6], "psi": 3, "label": [[0, 1]]}}, 400, "'psi' is 3"),
        ("/v1/models/fake:predict", {"inputs": {"z": [[0] * 6], "psi": True, "label": [[0, 1]]}}, 400, "'psi' must"),
        ("/v1/models/fake:predict", [], 400, "must be an object"),
        ("/v1/models/fake:classify", {}, 501, "classify"),
        ("/v1/models/fake:draw", {}, 400, "Malformed request: POST"),
        ("/v2/models/fake", None, 400, "Malformed request: GET"),
    ],
)
def test_bad_requests(call, path, body, status, words):
    got, answer = call(path, body)
    assert got == status
    assert words in answer["error"]


def test_garbage_is_a_parse_error(call):
    status, answer = call("/v1/models/fake:predict", raw=b"{\xff")
    assert status == 400
    assert "JSON Parse error" in answer["error"]


def test_a_deeply_nested_request_is_a_parse_error(call):
    status, answer = call("/v1/models/fake:predict", raw=b"[" * 60_000)
    assert status == 400
    assert "JSON Parse error" in answer["error"]


def test_100_mb_and_a_disconnect_are_survived(call, server):
    status, answer = call("/v1/models/fake:predict", raw=bytes(100 << 20))
    assert status == 413
    assert "Content-Length is 104857600" in answer["error"]
    host, port = server.rest.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"POST /v1/models/fake:predict HTTP/1.1\r\nContent-Length: 500\r\n\r\n{")
    assert call("/v1/models/fake:predict", rows())[0] == 200


def test_metrics_count_by_outcome(call, server):
    def count(code):
        with urllib.request.urlopen(server.rest + "/monitoring/prometheus/metrics", timeout=20) as response:
            text = response.read().decode()
        found = re.search(rf'sg3tf_serving_requests_total{{api="rest",code="{code}"}} (\S+)', text)
        assert "sg3tf_serving_newest_version 2.0" in text
        return float(found[1]) if found else 0

    before = count("OK"), count("NOT_FOUND")
    call("/v1/models/fake:predict", rows())
    call("/v1/models/other:predict", rows())
    assert (count("OK"), count("NOT_FOUND")) == (before[0] + 1, before[1] + 1)
