"""The remote client against the embedded server."""

import contextlib

import grpc
import numpy as np
import pytest

from sg3tf.remote import Client, ServingError, Signature

SEEDS = [3, 11]
LABEL = np.float32([[1, 0], [0, 1]])


@pytest.fixture(scope="module")
def client(server):
    with contextlib.closing(Client(server.address, "fake", timeout_s=20)) as client:
        yield client


def z_of(seeds):
    return np.stack([np.random.RandomState(seed).randn(6) for seed in seeds])


def test_generate(client, fake_generator):
    expected = fake_generator.images(z_of(SEEDS), LABEL, 0.6)
    by_seed = client.generate(seeds=SEEDS, psi=0.6, label=LABEL)
    np.testing.assert_allclose(by_seed.astype(int), expected, atol=1)
    np.testing.assert_array_equal(client.generate(z_of(SEEDS), psi=0.6, label=LABEL), by_seed)
    files = client.generate_png(SEEDS, psi=0.6, label=LABEL)
    assert [file[:4] for file in files] == [b"\x89PNG"] * 2
    with pytest.raises(ValueError, match="one of z and seeds"):
        client.generate(label=LABEL)


def test_map_synthesize_mix(client, fake_generator):
    ws = client.map(seeds=SEEDS, label=LABEL)
    expected = fake_generator.images(z_of(SEEDS), LABEL)
    np.testing.assert_allclose(client.synthesize(ws).astype(int), expected, atol=1)
    turned = np.float32([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    expected = fake_generator.images(z_of(SEEDS), LABEL, transform=turned)
    np.testing.assert_allclose(client.synthesize(ws, turned).astype(int), expected, atol=1)
    np.testing.assert_array_equal(client.mix(ws, ws[::-1], [1, 1, 1]), client.synthesize(ws[::-1]))
    np.testing.assert_array_equal(client.mix(ws, ws[::-1], [0, 0, 0]), client.synthesize(ws))
    with pytest.raises(ValueError, match=r"transform of shape \[2, 3\]: give \[3, 3\] or \[2, 3, 3\]"):
        client.synthesize(ws, turned[:2])


def test_one_label_for_all(client):
    same = np.tile(LABEL[1], (2, 1))
    np.testing.assert_array_equal(client.map(seeds=SEEDS, label=LABEL[1]), client.map(seeds=SEEDS, label=same))
    assert client.generate_png(SEEDS, label=LABEL[1]) == client.generate_png(SEEDS, label=same)


def test_dimensions(client):
    assert client.input_dim("z") == 6
    assert client.input_dim("label") == 2
    assert client.input_dim("label", "synthesize") == 0
    with pytest.raises(ServingError, match="no signature draw"):
        client.input_dim("z", "draw")


def test_a_model_without_transforms_gets_none(client, monkeypatch):
    signature = Signature({"ws": (None, 3, 4)}, {"images": (None, 8, 8, 3)})
    asked = []
    monkeypatch.setattr(client, "metadata", lambda: {"synthesize": signature})
    monkeypatch.setattr(client, "predict", lambda name, inputs: asked.append((name, set(inputs))) or {"images": [0]})
    client.synthesize(np.zeros((1, 3, 4)))
    assert asked == [("synthesize", {"ws"})]


def test_refusals_are_explained(client, server):
    with pytest.raises(ServingError, match=r"'z' has shape \[2, 5\]") as caught:
        client.generate(np.zeros((2, 5)), label=LABEL)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="'draw' not found"):
        client.predict("draw", {})
    other = Client(server.address, "fake", version=1)
    with contextlib.closing(other), pytest.raises(ServingError, match="versions served are 2"):
        other.metadata()


def test_metadata(client):
    signatures = client.metadata()
    assert signatures["synthesize"] == Signature(
        {"ws": (None, 3, 4), "transform": (None, 3, 3)}, {"images": (None, 8, 8, 3)}
    )
    assert signatures["generate"].inputs["psi"] is None  # of any rank
