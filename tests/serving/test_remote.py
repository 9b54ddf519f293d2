"""The remote client against the embedded server."""

import contextlib

import grpc
import numpy as np
import pytest

from sg3tf.remote import Client, Retries, ServingError, Signature, proxy_variable

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


def test_arrays_for_another_number_of_images_are_refused(client):
    """Not cut to the number of latents."""
    rows, ws = np.eye(2)[[0] * 3], np.zeros((3, 3, 4))
    for name, call in {
        "label": lambda: client.generate(seeds=SEEDS, label=rows),
        "psi": lambda: client.generate_png(SEEDS, psi=[0.1, 0.2, 0.3], label=rows[:2]),
        "ws_b": lambda: client.mix(ws[:2], ws, [1, 1, 1]),
    }.items():
        with pytest.raises(ValueError, match=f"{name} has 3.* rows: give one row for each image"):
            call()


def test_classes_by_name(client):
    names = {"class_name": ["tabby", "manx"]}
    for call in (client.generate, client.map):
        np.testing.assert_array_equal(call(seeds=SEEDS, psi=0.6, **names), call(seeds=SEEDS, psi=0.6, label=LABEL))
    assert client.generate_png(SEEDS, **names) == client.generate_png(SEEDS, label=LABEL)
    by_number, both = (
        client.generate(seeds=SEEDS, class_name="1"),
        client.generate(seeds=SEEDS, class_name="manx,tabby"),
    )
    np.testing.assert_array_equal(by_number, client.generate(seeds=SEEDS, label=LABEL[1]))
    np.testing.assert_array_equal(both, client.generate(seeds=SEEDS, label=np.ones(2)))
    with pytest.raises(
        ServingError, match="'class_name' is 'persian'; it must be a number from 0 to 1, or .*tabby, manx"
    ):
        client.generate(seeds=SEEDS, class_name=["tabby", "persian"])
    with pytest.raises(ValueError, match="one of label and class_name"):
        client.generate(seeds=SEEDS, label=LABEL, class_name="manx")
    with pytest.raises(ValueError, match="class_name has 3 names: give one, or 2, one per image"):
        client.generate(seeds=SEEDS, class_name=["manx"] * 3)


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
    assert client.version() == 2


def test_more_images_than_a_request_may_have_come_in_parts(client):
    files = client.generate_png(range(130), label=LABEL[0])
    assert len(files) == 130
    assert files[60:70] == client.generate_png(range(60, 70), label=LABEL[0])  # across the border at 64


@pytest.mark.parametrize(
    "words",
    [
        "'z' has 16 rows; send at most 8 in one request",
        "too many images in one request: this model takes at most 8",
        "Task size 16 is larger than maximum input batch size 8",  # TensorFlow's batching, in the stock server
    ],
)
def test_the_limit_is_learned_from_each_kind_of_server(words, monkeypatch):
    sent = []

    def predict(signature, inputs):
        sent.append(len(inputs["ws_a"]))
        if sent[-1] > 8:
            raise ServingError(f"refused: {words}", grpc.StatusCode.INVALID_ARGUMENT)
        return {"images": inputs["ws_a"] + 2 * inputs["mask"].mean()}

    with contextlib.closing(Client()) as other:
        monkeypatch.setattr(other, "predict", predict)
        ws = np.arange(19, dtype=np.float32).reshape(19, 1, 1)
        np.testing.assert_array_equal(other.mix(ws, ws, [1]), ws + 2)
        assert sent == [19, 8, 8, 3]
        other.mix(ws, ws, [1])
        assert sent[4:] == [8, 8, 3]
        np.testing.assert_array_equal(other.mix(ws, ws, [[1]]), ws + 2)  # one row for all images


def test_proxies(server, monkeypatch):
    """A proxy of the environment is not asked for this machine, and named where it may be the reason."""
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    for variable in ("grpc_proxy", "https_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with contextlib.closing(Client(server.address, "fake", timeout_s=20)) as direct:
        assert "map" in direct.metadata()
    far = Client("192.0.2.1:8500", timeout_s=20, retries=Retries(attempts=1))
    with contextlib.closing(far), pytest.raises(ServingError) as caught:
        far.metadata()
    assert "through the proxy 127.0.0.1:1 of http_proxy; add the host to no_proxy, or start one" in str(caught.value)
    assert "secret" not in str(caught.value).partition("(")[0]
    monkeypatch.setenv("no_proxy", "localhost, 192.0.2.1")
    assert proxy_variable("192.0.2.1:8500") is None
    assert proxy_variable("[2001:db8::1]:8500") == "http_proxy"


def test_label_vectors(client, fake_generator):
    """Any numbers, not only one of the classes."""
    vectors = np.float32([[0.25, 0.75], [-1.5, 3]])
    expected = fake_generator.images(z_of(SEEDS), vectors)
    np.testing.assert_allclose(client.generate(seeds=SEEDS, label=vectors).astype(int), expected, atol=1)
