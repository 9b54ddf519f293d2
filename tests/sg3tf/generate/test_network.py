"""One interface to all networks: the same bytes in any batch, and close ones from every implementation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from serving.signatures import ServedGenerator
from sg3tf import latents, ops
from sg3tf.generate import keras_network
from sg3tf.generate.keras_network import KerasNetwork, default_batch
from sg3tf.generate.network import ExportedNetwork, Network
from sg3tf.generate.open_network import open_network
from sg3tf.images import to_uint8
from tests.helpers.numerics import Array
from tests.sg3tf.generate.conftest import tiny

Z = latents.z_from_seeds(range(10), 6)
MOTION = latents.transform_matrix(0.4, 0.1, -0.2)


def drawn(network: Network, **transform: Array) -> tuple[Array, Array]:
    ws = network.map(Z, psi=0.7)
    return ws, network.synthesize(ws, **transform)


@pytest.mark.parametrize("kind", ["stylegan3-t", "stylegan2"])
def test_the_same_bytes_in_any_batch(kind: str) -> None:
    G = tiny(kind, channel_base=2048, channel_max=64, w_dim=64)  # wide enough to be computed in blocks
    ws, images = drawn(KerasNetwork(G, batch=1))
    for batch in (3, 8):
        network = KerasNetwork(G, batch=batch)
        again = drawn(network)
        np.testing.assert_array_equal(again[0], ws)
        np.testing.assert_array_equal(again[1], images)
    order = np.array([7, 2, 2, 9, 0])
    np.testing.assert_array_equal(network.synthesize(ws[order]), images[order])
    np.testing.assert_array_equal(network.map(Z[order], psi=0.7), ws[order])


def test_images_are_those_of_the_generator(generator: sg3tf.Generator, network: Network) -> None:
    ws, images = drawn(network, transform=MOTION)
    expected = generator.mapping(tf.constant(Z), truncation_psi=0.7)
    np.testing.assert_allclose(ws, expected, rtol=0, atol=1e-5)
    expected = to_uint8(generator.synthesis(expected, transform=tf.constant(MOTION)))
    assert images.dtype == np.uint8
    np.testing.assert_allclose(images.astype(int), expected, atol=1)
    assert (images == expected).mean() > 0.99


@pytest.mark.native
@pytest.mark.slow
def test_implementations_agree_within_one_level(generator: sg3tf.Generator) -> None:
    images = {}
    for implementation in ("native", "matmul", "xla"):
        with ops.use_backend(implementation):
            images[implementation] = drawn(KerasNetwork(generator))[1].astype(int)
    np.testing.assert_allclose(images["matmul"], images["native"], rtol=0, atol=1)
    np.testing.assert_allclose(images["xla"], images["native"], rtol=0, atol=1)


def test_noise() -> None:
    """That of an image depends only on its style vectors."""
    G = tiny("stylegan2")
    for variable in G.trainable_variables:
        if variable.name == "noise_strength":
            variable.assign(0.5)
    const = KerasNetwork(G, "noisy", batch=3)
    ws = const.map(Z)
    images = {}
    for noise in ("const", "random", "none"):
        network = KerasNetwork(G, "noisy", batch=3)
        network.set_noise(noise)
        images[noise] = network.synthesize(ws)
        np.testing.assert_array_equal(network.synthesize(ws[[7, 2]]), images[noise][[7, 2]])
        assert (network.identity() == const.identity()) == (noise == "const")
    np.testing.assert_array_equal(images["const"], const.synthesize(ws))
    np.testing.assert_allclose(images["none"], to_uint8(G.synthesis(tf.constant(ws), noise="none")), atol=1)
    for a, b in (("const", "random"), ("const", "none"), ("random", "none")):
        assert (images[a] != images[b]).mean() > 0.1


def test_noise_that_a_network_lacks(network: Network) -> None:
    network.set_noise("const")
    with pytest.raises(ValueError, match="noise=none: leave it out, as network=tiny has no noise"):
        network.set_noise("none")


def test_mapping(generator: sg3tf.Generator, network: Network) -> None:
    full = network.map(Z)
    np.testing.assert_allclose(full, generator.mapping(tf.constant(Z)), rtol=0, atol=1e-5)
    average = np.asarray(generator.mapping_network.w_avg)
    np.testing.assert_array_equal(network.w_avg, average)
    each = network.map(Z, psi=np.linspace(0, 1, 10), cutoff=4)
    np.testing.assert_allclose(each[0, :4], np.tile(average, [4, 1]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(each[3, :4], average + (full[3, :4] - average) / 3, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(each[:, 4:], full[:, 4:])
    np.testing.assert_array_equal(each[9], full[9])
    assert network.map(Z[:0]).shape == (0, network.num_ws, 5)
    assert network.synthesize(full[:0]).shape == (0, 16, 16, 3)


def test_labels(classes: Network) -> None:
    one_hot = np.eye(3, dtype=np.float32)
    each = classes.map(Z[:3], label=one_hot)
    for number in range(3):
        np.testing.assert_array_equal(classes.map(Z[:3], label=one_hot[number])[number], each[number])
    assert np.abs(each[0] - classes.map(Z[:1], label=one_hot[1])[0]).max() > 1e-3
    assert classes.synthesize(each).shape == (3, 16, 16, 1)


def test_the_average_of_a_class(classes: Network) -> None:
    """Against other samples: the difference of two means of 10 000 has sqrt(2 / 10 000) of the deviation of w."""
    mapping = classes.generator.mapping_network
    z = np.random.default_rng(1).standard_normal([10_000, 6], np.float32)
    averages = []
    for label in np.eye(3, dtype=np.float32):
        w = np.asarray(mapping(z, label=np.tile(label, [len(z), 1])), np.float64)
        averages.append(classes.class_average(label))
        assert np.all(np.abs(averages[-1] - w.mean(0)) < 6 * np.sqrt(2 / len(z)) * w.std(0))
    assert np.std(averages, axis=0).max() > 0.1


def test_the_average_follows_the_model(network: Network) -> None:
    """As its images do, until it is centered on a class."""
    G = tiny("stylegan3-r", label_dim=3)
    own, average = KerasNetwork(G), G.mapping_network.w_avg
    own.map(Z, label=[1, 0, 0])
    average.assign(average + 1)
    np.testing.assert_array_equal(own.w_avg, average)
    label = np.float32([0, 1, 0])
    own.center_on_class(label)
    average.assign(average + 1)
    np.testing.assert_array_equal(own.w_avg, own.class_average(label))
    assert not own.truncates_fully(None) and network.truncates_fully(None)


def test_the_average_of_an_export_is_requested_once() -> None:
    requests = []

    class Exported(ExportedNetwork):
        def identity(self) -> str:
            return "exported"

        def _call(self, signature: str, inputs: dict[str, Array]) -> Array:
            requests.append(inputs["psi"].tolist())
            return np.ones([len(inputs["z"]), 2, 3], np.float32)

    shapes = {"z": (None, 4), "ws": (None, 2, 3), "images": (None, 16, 16, 3)}
    exported = Exported("exported", 8, shapes)
    for _ in range(2):
        exported.map(np.ones([2, 4]), psi=0.5)
        np.testing.assert_array_equal(exported.w_avg, np.ones(3))
    assert sorted(requests) == [[0.0], [1.0, 1.0], [1.0, 1.0]]


def test_shapes_that_do_not_fit(network: Network, classes: Network, stylegan2: Network) -> None:
    with pytest.raises(ValueError, match=r"z of shape \(2, 5\): give \[N, 6\]"):
        network.map(np.zeros([2, 5]))
    with pytest.raises(ValueError, match=r"ws of shape \(2, 8, 6\): network=tiny takes \[N, 8, 5\]"):
        network.synthesize(np.zeros([2, 8, 6]))
    with pytest.raises(ValueError, match=r"label of shape \(3,\): leave it out, as network=tiny has 0 classes"):
        network.map(Z, label=[1, 0, 0])
    for label in (None, [1, 0], np.ones([9, 3])):
        with pytest.raises(ValueError, match=r"give \[3\] or \[10, 3\], as network=classes has 3 classes"):
            classes.map(Z, label=label)
    with pytest.raises(ValueError, match="network=stylegan2: .* as those of StyleGAN3 and its ablations B to H"):
        stylegan2.synthesize(stylegan2.map(Z), transform=MOTION)


def test_images_that_are_not_finite(network: Network) -> None:
    ws = network.map(Z)
    ws[3, 2, 0] = np.nan
    with pytest.raises(FloatingPointError, match="network=tiny: images are not finite; use another network"):
        network.synthesize(ws)


def test_batches_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_network, "num_bytes_of_memory", lambda: 2**33)
    assert [default_batch(resolution) for resolution in (64, 512, 1024, 2048)] == [8, 5, 1, 1]


def test_batches_fit_a_small_gpu_whatever_the_memory_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_network, "num_bytes_of_memory", lambda: 2**37)
    assert default_batch(1024) == 8
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    assert [default_batch(resolution) for resolution in (256, 512, 1024)] == [8, 5, 1]


@pytest.fixture(scope="module")
def exported(generator: sg3tf.Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As serving.export writes it, without its trial."""
    base = tmp_path_factory.mktemp("models") / "tiny[1]"
    served = ServedGenerator(generator)
    tf.saved_model.save(served, str(base / "1"), signatures=served.signatures())
    return base


@pytest.mark.slow
def test_a_saved_model_draws_the_same(network: Network, exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = open_network(str(exported), batch=2)
    assert "custom gradients" not in caplog.text
    for size in ("z_dim", "w_dim", "num_ws", "label_dim", "resolution", "channels", "supports_transform"):
        assert getattr(other, size) == getattr(network, size)
    np.testing.assert_allclose(other.w_avg, network.w_avg, rtol=0, atol=1e-6)
    ws, images = drawn(network, transform=MOTION)
    other_ws, other_images = drawn(other, transform=MOTION)
    np.testing.assert_allclose(other_ws, ws, rtol=0, atol=1e-5)
    np.testing.assert_allclose(other_images.astype(int), images, atol=1)
    np.testing.assert_allclose(drawn(other)[1].astype(int), drawn(network)[1], atol=1)
    np.testing.assert_array_equal(open_network(str(exported / "1"), batch=3).synthesize(ws), other.synthesize(ws))
    assert other.identity() == open_network(str(exported / "1")).identity() != network.identity()
    with pytest.raises(ValueError, match=r"its layers are out of reach; give a \.keras file or a run folder"):
        _ = other.generator
    before, graph = other.identity(), exported / "1" / "saved_model.pb"  # of the same weights in another precision
    content = graph.read_bytes()
    graph.write_bytes(content + b"\0")
    assert other.identity() != before
    graph.write_bytes(content)
    assert other.identity() == before


def test_a_saved_model_of_something_else(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "3"))
    with pytest.raises(ValueError, match=r"network=.*: not a generator that sg3tf export has written"):
        open_network(str(tmp_path))


def test_keras_files_and_folders(saved: Path, network: Network, tmp_path: Path) -> None:
    shutil.copy(saved, tmp_path / "network-snapshot-000100.keras")
    for path in (saved, str(tmp_path)):
        opened = open_network(path)
        assert opened.name == str(path)
        np.testing.assert_array_equal(drawn(opened)[1], drawn(network)[1])
        assert opened.identity() == network.identity()
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder; give a .keras file"):
        open_network(str(tmp_path / "nowhere"))


def test_precision_is_part_of_the_identity(generator: sg3tf.Generator, network: Network) -> None:
    assert KerasNetwork(generator.with_dtype("mixed_bfloat16")).identity() != network.identity()


@pytest.mark.parametrize("address", ["grpc://host/model", "grpc://host:1", "grpc://:1/model"])
def test_addresses(address: str) -> None:
    with pytest.raises(ValueError, match=rf"network={address}: give grpc://HOST:PORT/MODEL"):
        open_network(address)
