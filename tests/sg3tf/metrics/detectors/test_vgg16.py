"""VGG16's features and LPIPS, with the published layers and few channels, against float64 NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics import detectors
from sg3tf.metrics.detectors import DetectorError, lpips, vgg16
from tests.helpers import torch_writer
from tests.helpers.numerics import relative_error
from tests.helpers.tf1_resize import resized

Array = NDArray[Any]

WIDTHS, FEATURES = (2, 3, 3, 4, 4), 6
LAYERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def vgg_arrays() -> dict[str, Array]:
    """Random parameters as torchvision names them; the last layer, which is not used, too."""
    rng, arrays, inputs = np.random.default_rng(0), {}, 3
    for stage, width in zip(LAYERS, WIDTHS, strict=True):
        for i in stage:
            arrays[f"features.{i}.weight"] = rng.normal(size=(width, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
            arrays[f"features.{i}.bias"] = rng.normal(size=width) * 0.1
            inputs = width
    inputs *= 7 * 7
    for i, width in ((0, FEATURES), (3, FEATURES), (6, 10)):
        arrays[f"classifier.{i}.weight"] = rng.normal(size=(width, inputs)) / np.sqrt(inputs)
        arrays[f"classifier.{i}.bias"] = rng.normal(size=width)
        inputs = width
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def linear_arrays() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {f"lin{i}.model.1.weight": np.float32(rng.uniform(size=(1, n, 1, 1))) for i, n in enumerate(WIDTHS)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of narrow networks, under the published names."""
    monkeypatch.setattr(vgg16, "WIDTHS", WIDTHS)
    monkeypatch.setattr(vgg16, "FEATURES", FEATURES)
    for module, arrays in ((vgg16, vgg_arrays()), (lpips, linear_arrays())):
        torch_writer.save(tmp_path / module.PUBLISHED.name, arrays)
        monkeypatch.setattr(module, "PUBLISHED", replace(module.PUBLISHED, sha256=None))
    return tmp_path


def pooled(x: Array) -> Array:
    n, height, width, c = x.shape
    return x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, c).max((2, 4))


def stages(x: Array) -> Iterator[Array]:
    """Activations before each pooling, in float64."""
    w = {name: array.astype(np.float64) for name, array in vgg_arrays().items()}
    for number, stage in enumerate(LAYERS):
        x = pooled(x) if number else x
        for i in stage:
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
            x = np.einsum("nyxcij,ocij->nyxo", windows, w[f"features.{i}.weight"], optimize=True)
            x = np.maximum(x + w[f"features.{i}.bias"], 0)
        yield x


def features(images: Array) -> Array:
    x = (resized(images, 224) / 255 - MEAN) / STD
    *_, x = stages(x)
    x = pooled(x).transpose(0, 3, 1, 2).reshape(len(x), -1)  # PyTorch flattens channels first
    for i in (0, 3):
        parameters = vgg_arrays()
        x = np.maximum(x @ parameters[f"classifier.{i}.weight"].T + parameters[f"classifier.{i}.bias"], 0)
    return x


def distance(a: Array, b: Array) -> Array:
    """Zhang et al. 2018, equation 1."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    total = np.zeros(len(a))
    both = zip(stages((a - shift) / scale), stages((b - shift) / scale), linear_arrays().values(), strict=True)
    for x, y, weight in both:
        x, y = (v / (np.sqrt((v**2).sum(-1, keepdims=True)) + 1e-10) for v in (x, y))
        total += (weight.reshape(-1) * (x - y) ** 2).sum(-1).mean((1, 2))
    return total


def images(count: int, size: int = 64, channels: int = 3) -> Array:
    return np.random.default_rng(2).integers(0, 256, (count, size, size + 9, channels), dtype=np.uint8)


def test_features(folder: Path) -> None:
    detector = detectors.load("vgg16", folder)
    assert (detector.name, detector.outputs) == ("vgg16", {"features": FEATURES})

    actual = tf.function(detector)(images(2))["features"]

    assert actual.dtype == tf.float32
    assert (features(images(2)) > 0).any()
    assert relative_error(actual, features(images(2))) < 1e-5  # fifteen layers of float32 roundings


def test_grey_images_are_repeated(folder: Path) -> None:
    detector, gray = detectors.load("vgg16", folder), images(1, channels=1)
    np.testing.assert_array_equal(detector(gray)["features"], detector(np.repeat(gray, 3, -1))["features"])


def pair(size: int = 33) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    a, b = rng.uniform(-1, 1, (2, 3, size, size + 5, 3)).astype(np.float32)
    return a, a + (b - a) * np.float32([1, 0.1, 0])[:, None, None, None]


def test_distance(folder: Path) -> None:
    a, b = pair()
    measure = detectors.load("lpips", folder)

    actual = tf.function(measure.distance)(a, b)

    assert (actual.shape, actual.dtype) == ((3,), tf.float32)
    assert relative_error(actual, distance(a, b)) < 1e-5
    assert actual[2] == 0
    np.testing.assert_allclose(measure.distance(b, a), actual, rtol=1e-6)


def test_distance_of_neighbors(folder: Path) -> None:
    """Path lengths compare images that hardly differ: what float32 leaves of a difference of 1e-4."""
    a = pair()[0]
    b = a + np.float32(1e-4) * pair()[1]
    actual = detectors.load("lpips", folder).distance(a, b)
    np.testing.assert_allclose(actual, distance(a, b), rtol=0.05)  # 0.014 seen


def test_distance_of_grey_images(folder: Path) -> None:
    measure, (a, b) = detectors.load("lpips", folder), (x[..., :1] for x in pair())
    np.testing.assert_array_equal(measure.distance(a, b), measure.distance(np.repeat(a, 3, -1), np.repeat(b, 3, -1)))


def test_digests(folder: Path) -> None:
    """LPIPS depends on two files."""
    digest = hashlib.sha256((folder / "vgg16-397923af.pth").read_bytes()).hexdigest()
    before = [detectors.load(name, folder).digest for name in ("vgg16", "lpips")]
    assert before[0] == f"sha256:{digest}"
    torch_writer.save(folder / "vgg.pth", {name: 2 * array for name, array in linear_arrays().items()})
    after = [detectors.load(name, folder).digest for name in ("vgg16", "lpips")]
    assert before[0] == after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("name", "file", "arrays", "message"),
    [
        (
            "vgg16",
            "vgg16-397923af.pth",
            linear_arrays(),
            r"wrong network.*features\.0\.weight is \(\), not \(2, 3, 3, 3\)",
        ),
        ("lpips", "vgg.pth", vgg_arrays(), r"wrong network.*lin0"),
        ("lpips", "vgg16-397923af.pth", linear_arrays(), "wrong network"),
    ],
)
def test_another_network(folder: Path, name: str, file: str, arrays: dict[str, Array], message: str) -> None:
    torch_writer.save(folder / file, arrays)
    with pytest.raises(DetectorError, match=message) as error:
        detectors.load(name, folder)
    assert "\n" not in str(error.value)


def test_broken_file(folder: Path) -> None:
    (folder / "vgg.pth").write_bytes((folder / "vgg.pth").read_bytes()[:-1])
    with pytest.raises(DetectorError, match=r"vgg\.pth: truncated"):
        detectors.load("lpips", folder)


def test_published_widths() -> None:
    """138 million parameters, of which the last layer's 4,097,000 are not used."""
    assert sum(int(np.prod(shape)) for shape in vgg16.shapes().values()) == 138_357_544 - 4_097_000
    assert list(lpips.shapes().values()) == [(1, width, 1, 1) for width in (64, 128, 256, 512, 512)]
