"""Metrics that compare features, through passes over images of known colors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

from sg3tf import GeneratorConfig, StyleGAN2Config, StyleGAN2Generator
from sg3tf.metrics import METRICS, Evaluation, compute, features
from sg3tf.metrics.kid import kernel_distance
from sg3tf.metrics.precision_recall import density_coverage, precision_recall
from sg3tf.metrics.samples import Samples, comparison_rng, uniform_classes
from tests.helpers.metric_stubs import MEAN, SPREAD, Colors, Data, MeanColor, bytes_of

COUNT = 600
SEED = 3


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    return Data(rng.normal([120, 140, 90], [20, 15, 12], [700, 3]).round().astype(np.uint8))


def generated(count: int = COUNT, seed: int = SEED) -> Any:
    """The colors of images that Colors generates."""
    z = Samples(count, 3, seed, None).latents(np.arange(count)).astype(np.float64)
    return bytes_of(MEAN + SPREAD * z)


def frechet(a: Any, b: Any) -> float:
    """The textbook's formula."""
    C, D = np.cov(a.T), np.cov(b.T)
    shift = a.mean(0) - b.mean(0)
    return float(shift @ shift + np.trace(C + D - 2 * scipy.linalg.sqrtm(C @ D).real))


def measured(names: list[str], data: Data | None, G: Any = None, **options: Any) -> dict[str, float]:
    given = {"detector_dir": "somewhere", "num_samples": COUNT, "batch": 32, "seed": SEED, **options}
    return compute(names, G or Colors(), data, **given)


def test_values_equal_their_definitions(loaded: dict[str, MeanColor], data: Data):
    real, fake = data.colors.astype(np.float32), generated().astype(np.float32)
    names = ["is50k", "pr50k3_full", "fid50k_full", "kid50k_full", "dc50k5_full", "sfid50k_full"]
    values = measured(names, data)
    assert list(values) == [result for name in names for result in METRICS[name].results]
    assert values["fid50k_full"] == values["sfid50k_full"] == pytest.approx(frechet(real, fake), rel=1e-6)
    assert values["kid50k_full"] == pytest.approx(kernel_distance(real, fake, comparison_rng(SEED)), rel=1e-9)
    found = [values[f"pr50k3_full_{which}"] for which in ("precision", "recall")]
    assert found == pytest.approx(precision_recall(real / 2, fake / 2, 3))
    found = [values[f"dc50k5_full_{which}"] for which in ("density", "coverage")]
    assert found == pytest.approx(density_coverage(real / 2, fake / 2, 5))
    # The score of each tenth, by its definition.
    p = np.exp(fake - fake.max(1, keepdims=True)).astype(np.float64)
    p = (p / p.sum(1, keepdims=True)).reshape(10, -1, 3)
    log = np.log(np.maximum(p, 1e-300)) - np.log(p.mean(1, keepdims=True))
    scores = np.exp((p * log).sum(2).mean(1))
    found = [values[f"is50k_{which}"] for which in ("mean", "std")]
    assert found == pytest.approx([scores.mean(), scores.std()], rel=1e-6)


def test_each_image_goes_through_each_detector_once(loaded: dict[str, MeanColor], data: Data):
    G = Colors()
    data.read.clear()
    measured(["fid50k_full", "pr50k3", "fid50k", "dc50k5_full", "is50k"], data, G)
    in_batches = [-(-count // 32) * 32 for count in (COUNT, len(data))]
    assert G.seen == in_batches[0]
    assert len(data.read) == in_batches[1] and set(data.read) == set(range(len(data)))
    assert [one.seen for one in loaded.values()] == [sum(in_batches)] * 2


def test_a_known_normal_distribution(loaded: dict[str, MeanColor]):
    """Two normal distributions along the axes have the distance (m1 - m2)^2 + (s1 - s2)^2 for each of them.

    Cutting down to whole numbers takes 1/2 off the mean, as rounding the data does not, and adds 1/12 to both
    variances. A mean's standard error is 0.5 at most, as deviations of 26 and 20 go over the root of 4000.
    """
    rng = np.random.default_rng(1)
    mean, deviation = np.array([120.0, 110, 130]), np.array([20.0, 15, 10])
    data = Data(rng.normal(mean, deviation, [4000, 3]).round().astype(np.uint8))
    of_fake = 127.5 * MEAN + 128 - 0.5, np.sqrt((127.5 * SPREAD) ** 2 + 1 / 12)
    expected = ((of_fake[0] - mean) ** 2 + (of_fake[1] - np.sqrt(deviation**2 + 1 / 12)) ** 2).sum()
    value = measured(["fid50k_full"], data, num_samples=4000, batch=250)["fid50k_full"]
    assert value == pytest.approx(expected, abs=3 * 2 * np.sqrt(expected) * 0.5)  # three standard errors of the mean


def test_first_images_where_the_number_is_limited(loaded: dict[str, MeanColor], data: Data, monkeypatch: Any):
    """Detectors do not process more images either."""
    import dataclasses

    for name in ("fid50k", "pr50k3"):
        kind = dataclasses.replace(METRICS[name].kind, max_real={"fid50k": 100, "pr50k3": 40}[name])
        monkeypatch.setitem(METRICS, name, dataclasses.replace(METRICS[name], kind=kind))
    values = measured(["fid50k", "pr50k3", "fid50k_full"], data, batch=16)
    fake = generated().astype(np.float32)
    assert values["fid50k"] == pytest.approx(frechet(data.colors[:100], fake), rel=1e-6)
    assert values["fid50k_full"] == pytest.approx(frechet(data.colors, fake), rel=1e-6)
    first = precision_recall(data.colors[:40].astype(np.float32), fake, 3)
    assert [values["pr50k3_precision"], values["pr50k3_recall"]] == pytest.approx(first)
    assert loaded["vgg16"].seen == 48 + 608
    assert loaded["inception"].seen == 704 + 608


def test_the_batch_does_not_matter(loaded: dict[str, MeanColor], data: Data):
    names = ["fid50k_full", "pr50k3_full"]
    assert measured(names, data, batch=7) == pytest.approx(measured(names, data, batch=1000), rel=1e-9)


def test_labels_come_from_the_data(loaded: dict[str, MeanColor], data: Data):
    """Images are brighter by a half for one of the labels, which three quarters have."""
    labels = np.repeat(np.eye(2, dtype=np.float32)[[0, 1, 1, 1]], len(data) // 4, axis=0)
    G = Colors(GeneratorConfig(16, z_dim=3, label_dim=2))
    labeled = Data(data.colors, labels)
    value = measured(["fid50k_full"], labeled, G)["fid50k_full"]
    z = Samples(COUNT, 3, SEED, None).latents(np.arange(COUNT)).astype(np.float64)
    rng = np.random.default_rng(0)
    for share, close in ((0.75, True), (0.5, False)):
        bright = rng.uniform(size=[COUNT, 1]) < share
        expected = frechet(data.colors, bytes_of(MEAN + SPREAD * z + bright / 2))
        assert (abs(value / expected - 1) < 0.1) == close, (value, expected)
    uniform = measured(["fid50k_full"], labeled, G, labels=uniform_classes(2, SEED))["fid50k_full"]
    assert uniform == pytest.approx(expected, rel=0.1)


def test_images_and_features_that_are_not_finite(loaded: dict[str, MeanColor], data: Data):
    z = Samples(COUNT, 3, SEED, None).latents(np.arange(COUNT))
    with pytest.raises(FloatingPointError, match="images of samples 64 to 95 are not finite"):
        measured(["fid50k_full"], data, Colors(nan=z[70]))
    loaded["inception"].scale = np.inf
    with pytest.raises(FloatingPointError, match="pool features of inception for images 0 to 31 are not finite"):
        measured(["fid50k_full"], data)


def test_progress(loaded: dict[str, MeanColor], data: Data):
    seen: list[tuple[str, int, int]] = []
    measured(["fid50k_full", "pr50k3_full"], data, batch=256, progress=lambda *done: seen.append(done))
    assert seen == [
        *(("real images", done, 700) for done in (0, 256, 512, 700)),
        *(("generated images", done, 600) for done in (0, 256, 512, 600)),
    ]


def test_results_come_one_by_one(loaded: dict[str, MeanColor], data: Data):
    given = {"detector_dir": "x", "num_samples": COUNT, "batch": 32}
    found = list(Evaluation(["pr50k3_full", "fid50k_full"], Colors(), data, **given))
    assert [result.metric for result in found] == ["pr50k3_full", "fid50k_full"]
    assert [(result.num_samples, result.num_real, result.unit) for result in found] == [(COUNT, 700, None)] * 2
    assert [list(result.values) for result in found] == [
        ["pr50k3_full_precision", "pr50k3_full_recall"],
        ["fid50k_full"],
    ]


def test_pixels_are_rounded_down():
    """As for published values."""
    colors = np.array([[-1.1, -1.0, -0.0001], [0.0, 0.5, 0.9999], [1.0, 1.1, 0.003]])
    source = features.GeneratedImages(Colors(), None)
    source._G.mapping = lambda z, label: z
    images, finite = source.images({"z": colors})
    assert images[:, 0, 0].numpy().tolist() == [[0, 0, 127], [128, 191, 255], [255, 255, 128]]
    assert finite.numpy().all()


def test_stylegan2_has_different_noise_in_every_image(loaded: dict[str, MeanColor]):
    """Published values were computed with random noise; here it depends on the seed and the position only."""
    config = StyleGAN2Config(8, z_dim=4, w_dim=4, channel_base=32, channel_max=4)
    source = features.GeneratedImages(StyleGAN2Generator(config), Samples(8, 4, SEED, None))
    arrays = source.arrays(np.arange(8))
    assert arrays["noise"].shape == (8, 2) and len(np.unique(arrays["noise"], axis=0)) == 8
    np.testing.assert_array_equal(source.arrays(np.array([5]))["noise"], arrays["noise"][5:6])
    for conv in source._G.convs:
        conv.noise_strength.assign(1.0)
    same = {name: np.repeat(array[:1], 2, axis=0) for name, array in arrays.items()}
    same["noise"] = arrays["noise"][:2]
    one, other = source.images(same)[0].numpy().astype(int)
    assert np.abs(one - other).max() > 0
