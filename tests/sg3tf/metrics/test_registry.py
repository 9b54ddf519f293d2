"""Which metrics there are, and what is refused before any of them runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg3tf import ConfigError, GeneratorConfig, StyleGAN2Config
from sg3tf.metrics import METRICS, check, compute, detectors
from sg3tf.metrics.detectors import DetectorError
from sg3tf.metrics.registry import ALL, FeatureMetric, PathLengthMetric
from sg3tf.metrics.samples import Samples, comparison_rng, labels_from_data
from tests.helpers.metric_stubs import Colours, Data, MeanColour

ROOT = Path(__file__).parents[3]
CONFIG = GeneratorConfig(16, z_dim=3)
LABELLED = GeneratorConfig(16, z_dim=3, label_dim=2)

#: What published values were computed on: detector and its output, real images at most.
PUBLISHED = {
    "fid50k_full": ("inception", "pool", ALL),
    "kid50k_full": ("inception", "pool", 1_000_000),
    "pr50k3_full": ("vgg16", "features", 200_000),
    "is50k": ("inception", "logits", 0),
    "fid50k": ("inception", "pool", 50_000),
    "kid50k": ("inception", "pool", 50_000),
    "pr50k3": ("vgg16", "features", 50_000),
    "sfid50k_full": ("inception", "spatial", ALL),
    "dc50k5_full": ("vgg16", "features", 200_000),
}
PATHS = {
    "ppl2_wend": PathLengthMetric("w", "end", False),
    "ppl_zfull": PathLengthMetric("z", "full", True),
    "ppl_wfull": PathLengthMetric("w", "full", True),
    "ppl_zend": PathLengthMetric("z", "end", True),
    "ppl_wend": PathLengthMetric("w", "end", True),
}


def data(count: int = 20, label_dim: int = 0) -> Data:
    colours = np.random.default_rng(0).integers(0, 256, [count, 3], np.uint8)
    return Data(colours, np.eye(label_dim, dtype=np.float32)[np.arange(count) % label_dim] if label_dim else None)


def test_names():
    assert set(METRICS) == {"eqt50k_int", "eqt50k_frac", "eqr50k", *PUBLISHED, *PATHS}
    for name, expected in PUBLISHED.items():
        kind = METRICS[name].kind
        assert isinstance(kind, FeatureMetric)
        assert (kind.detector, kind.output, kind.max_real) == expected
    assert {name: METRICS[name].kind for name in PATHS} == PATHS
    assert {metric.num_samples for metric in METRICS.values()} == {50_000}


def test_results():
    """Each number has a name of its own."""
    results = {name: METRICS[name].results for name in METRICS}
    assert len({result for of_one in results.values() for result in of_one}) == sum(map(len, results.values()))
    assert results["pr50k3_full"] == {"pr50k3_full_precision": True, "pr50k3_full_recall": True}
    assert results["is50k"] == {"is50k_mean": True, "is50k_std": None}
    assert results["dc50k5_full"] == {"dc50k5_full_density": True, "dc50k5_full_coverage": True}
    for name in ("fid50k_full", "kid50k", "sfid50k_full", *PATHS):
        assert results[name] == {name: False}


def changed(**attributes: Any) -> Data:
    one = data(label_dim=attributes.pop("label_dim", 0))
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"names": ["fid"]}, "metrics='fid': known are eqt50k_int, .*fid50k_full"),
        ({"names": ["eqr50k"], "config": StyleGAN2Config(16)}, "metrics='eqr50k': images of this StyleGAN2Config"),
        ({"names": ["fid50k_full"], "data": None}, "metrics='fid50k_full': compares with real images; give data"),
        ({"data": changed(resolution=32)}, r"data=faces: images of 32x32, .* 16x16; .*--resolution=16"),
        ({"data": changed(channels=1)}, "data=faces: 1 channels, .* have 3; .*--channels=3"),
        ({"config": LABELLED}, "data=faces: label_dim=0, but the generator's is 2"),
        ({"config": LABELLED, "data": changed(label_dim=3)}, "data=faces: label_dim=3, but the generator's is 2"),
        ({"config": GeneratorConfig(16, image_channels=4), "data": None, "names": ["is50k"]}, "RGB images, not 4"),
        ({"num_samples": 1}, "metrics='fid50k_full': needs 2 images at least, .* not 1"),
        ({"data": data(1)}, "metrics='fid50k_full': needs 2 images at least, .* not 1"),
        ({"names": ["pr50k3"], "data": data(3)}, "metrics='pr50k3': needs 4 images at least, .* not 3"),
        ({"names": ["dc50k5_full"], "num_samples": 5}, "metrics='dc50k5_full': needs 6 images at least, .* not 5"),
        ({"names": ["kid50k"], "num_samples": 1}, "metrics='kid50k': needs 2 images"),
        ({"names": ["is50k"], "num_samples": 9}, "metrics='is50k': needs 10 images"),
        ({"names": ["ppl_wend"]}, "metrics='ppl_wend': compares 8x8 pixels here, needs 16x16"),
        ({"detector_dir": None}, "metrics='fid50k_full': .*give detector_dir"),
        ({"names": ["ppl2_wend"], "detector_dir": None}, "metrics='ppl2_wend': .*give detector_dir"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch": 0}, "batch=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], message: str):
    """And so by compute, before it makes an image."""
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColour())
    given = {"names": ["fid50k_full"], "config": CONFIG, "data": data(), "detector_dir": "x", **kwargs}
    with pytest.raises(ConfigError, match=message) as refusal:
        check(**given)
    assert "\n" not in str(refusal.value)
    G = Colours(given.pop("config"))
    with pytest.raises(ConfigError, match=message):
        compute(G=G, **given)
    assert G.seen == 0


def test_missing_detectors_are_refused(tmp_path: Path):
    for name in ("fid50k_full", "pr50k3", "ppl2_wend"):
        with pytest.raises(DetectorError, match="is not in the detector folder"):
            check([name], CONFIG, data(), detector_dir=tmp_path)
    check(["eqt50k_int"], CONFIG)


def test_what_stylegan2_has():
    every = ["fid50k_full", "kid50k_full", "pr50k3_full", "is50k", "ppl2_wend", "sfid50k_full", "dc50k5_full"]
    with pytest.raises(DetectorError):  # nothing else is wrong
        check(every, StyleGAN2Config(16), data(), detector_dir="nowhere")


def test_few_images_are_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Three features, as the stub has."""
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColour())
    for names, warned in ((["fid50k_full", "kid50k_full"], 1), (["kid50k_full"], 0)):
        caplog.clear()
        compute(names, Colours(), data(2), detector_dir="x", num_samples=20)
        assert [record.getMessage().startswith("fid50k_full: 2 images") for record in caplog.records] == [True] * warned
    caplog.clear()
    compute(["fid50k_full"], Colours(), data(3), detector_dir="x", num_samples=3)
    assert not caplog.records


def test_labels_of_data_are_as_frequent_as_there():
    labels = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    drawn = labels_from_data(Data(np.zeros([4, 3], np.uint8), labels), seed=1)
    counts = sum(drawn(i) for i in range(400))
    assert np.all(np.abs(counts - [300, 100, 0]) < 36)  # four standard deviations
    np.testing.assert_array_equal(drawn(7), drawn(7))
    others = labels_from_data(Data(np.zeros([4, 3], np.uint8), labels), seed=2)
    assert any((drawn(i) != others(i)).any() for i in range(20))
    assert drawn.origin == others.origin and "sha256:" in drawn.origin


def test_draws_are_independent_of_each_other():
    one = Samples(4, 3, 5, None)
    assert len({int(comparison_rng(5).integers(2**62)), int(one.params_rng(0).integers(2**62))}) == 2
    assert comparison_rng(5).integers(2**62) == comparison_rng(5).integers(2**62) != comparison_rng(6).integers(2**62)


REPLICAS = """
import dataclasses, json
from unittest import mock
import keras, numpy as np, tensorflow as tf
from sg3tf import Generator, build_generator
from sg3tf.models.loading import weights_digest
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.samples import uniform_classes
from tests.helpers.metric_stubs import Data
from trainer.distribution import make_strategy

class Corners:
    digest, outputs = "sha256:corners", {"pool": 4, "features": 4}
    def __init__(self):
        self.kernel = tf.Variable(np.random.default_rng(0).standard_normal([768, 4]), dtype=tf.float32)
    def __call__(self, images):
        seen.append(tf.distribute.get_replica_context().replica_id_in_sync_group)
        features = tf.reshape(tf.cast(images, tf.float32), [-1, 768]) @ self.kernel
        return {"pool": features, "features": features}

seen = []
strategy = make_strategy("cpu:2")
width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4, "magnitude_ema_beta": 0.0}
with strategy.scope():
    keras.utils.set_random_seed(0)
    G = Generator.from_preset("stylegan3-t", resolution=16, label_dim=2, **width)
plain = build_generator(G.config)
plain.set_weights(G.get_weights())
labels = np.eye(2, dtype=np.float32)[np.arange(37) % 2]
data = Data(np.random.default_rng(0).integers(0, 256, [37, 3], np.uint8), labels)
names = ["fid50k_full", "pr50k3", "kid50k_full"]
with mock.patch.object(detectors, "load", lambda name, folder: Corners()):
    common = {"data": data, "detector_dir": "x", "num_samples": 21, "batch": 4}
    one = compute(names, plain, **common)
    two = compute(names, G, **common, strategy=strategy)
print(json.dumps([one, two, len(set(map(str, seen))), weights_digest(G) == weights_digest(plain)]))
"""


@pytest.mark.slow
def test_two_devices_give_what_one_does():
    """Nothing is counted twice or left out where the last batches are not full; only sums are rounded otherwise."""
    done = subprocess.run([sys.executable, "-c", REPLICAS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two, replicas, same = json.loads(done.stdout.splitlines()[-1])
    assert two == pytest.approx(one, rel=1e-6) and one["fid50k_full"] > 1
    assert replicas > 1 and same
