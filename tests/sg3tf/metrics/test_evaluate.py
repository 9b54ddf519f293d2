"""Evaluation as users call it: results, inputs of several kinds, errors before anything is generated, replicas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import ConfigError, GeneratorConfig, StyleGAN2Config, metrics
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.images import save_png
from sg3tf.metrics import ArrayImages, Evaluation, MetricResult, check, compute, detectors, samples
from sg3tf.metrics.detectors import DetectorError
from sg3tf.metrics.samples import uniform_classes
from sg3tf.utils.resolution import Size
from tests.helpers.analytic_images import Waves
from tests.helpers.metric_stubs import Colors, Data, MeanColor

ROOT = Path(__file__).parents[3]
CONFIG = GeneratorConfig(16, z_dim=3)
LABELED = GeneratorConfig(16, z_dim=3, label_dim=2)
TINY, WIDE = (StyleGAN2Config(resolution, fourier_input=True) for resolution in (8, "40x8"))


def data(count: int = 20, label_dim: int = 0) -> Data:
    colors = np.random.default_rng(0).integers(0, 256, [count, 3], np.uint8)
    return Data(colors, np.eye(label_dim, dtype=np.float32)[np.arange(count) % label_dim] if label_dim else None)


# --- Results ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> MeanColor:
    found = MeanColor()
    monkeypatch.setattr(detectors, "load", lambda name, folder: found)
    return found


def test_results(detector: MeanColor):
    names = ["fid50k_full", "is50k"]
    fid, score = Evaluation(names, Colors(), data(), detector_dir="x", num_samples=12, seed=2)
    assert (fid.metric, fid.num_samples, fid.num_real, fid.unit) == ("fid50k_full", 12, 20, None)
    assert (score.metric, score.num_samples, score.num_real) == ("is50k", 12, 0)
    (moved,) = Evaluation(["eqt50k_int"], Waves(), num_samples=2)
    assert moved == MetricResult("eqt50k_int", moved.values, "dB", 2, 0)
    values = compute(names, Colors(), data(), detector_dir="x", num_samples=12, seed=2)
    assert values == fid.values | score.values


@pytest.mark.parametrize("label_dim", [0, 2])
def test_data_of_all_kinds(detector: MeanColor, tmp_path: Path, label_dim: int):
    """A data set, its path and its images in memory give the same values."""
    source = data(label_dim=label_dim)
    folder = tmp_path / "images"
    for i in range(len(source)):
        save_png(folder / (f"class{np.argmax(source.label(i))}" if label_dim else "") / f"{i:02}.png", source[i][0])
    build(folder, tmp_path / "data", BuildConfig(16, resize="box", shards=2))
    opened = samples.open_data(tmp_path / "data", labels=label_dim > 0)
    images, labels = (np.stack(parts) for parts in zip(*(opened[i] for i in range(len(opened))), strict=True))

    G = Colors(GeneratorConfig(16, z_dim=3, label_dim=label_dim))
    kinds = [opened, tmp_path / "data", str(tmp_path / "data"), ArrayImages(images, labels)]
    values = [compute(["fid50k_full"], G, kind, detector_dir="x", num_samples=12) for kind in kinds]
    assert values == [values[0]] * 4
    check(["fid50k_full"], G.config, tmp_path / "data", detector_dir="x")


def test_class_numbers_without_images(detector: MeanColor, tmp_path: Path):
    """A network of the official code has a label for class 0 although no image has it."""
    folder, source = tmp_path / "images", data()
    for i in range(len(source)):
        save_png(folder / f"{i:02}.png", source[i][0])
    labels = [[f"{i:02}.png", 1 + i % 2] for i in range(len(source))]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    G = Colors(GeneratorConfig(16, z_dim=3, label_dim=3))
    wider = samples.open_data(folder, resolution=16, labels=True).with_label_dim(3)
    evaluation = Evaluation(["fid50k_full"], G, wider, detector_dir="x", num_samples=12)
    drawn = np.stack([evaluation.labels(i) for i in range(12)])
    assert drawn.shape == (12, 3) and set(drawn.argmax(1)) == {1, 2}
    check(["fid50k_full"], G.config, wider, detector_dir="x")
    with pytest.raises(ConfigError, match="label_dim=2, but the generator's is 3"):  # which may have other classes
        check(["fid50k_full"], G.config, folder, detector_dir="x")


def test_tensor_float_32_is_off():
    seen = []
    read = tf.config.experimental.tensor_float_32_execution_enabled
    before = read()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        compute(["eqt50k_int"], Waves(), num_samples=1, progress=lambda *_: seen.append(read()))
        assert seen == [False] and read()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


# --- Errors and warnings ----------------------------------------------------------------------------------------------


def changed(**attributes: Any) -> Data:
    one = data(label_dim=attributes.pop("label_dim", 0))
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"names": ["fid"]}, "metrics='fid': known are swd, .*fid50k_full"),
        ({"names": ["eqr50k"], "config": StyleGAN2Config(16)}, "metrics='eqr50k': images of this StyleGAN2Config"),
        ({"names": ["fid50k_full"], "data": None}, "metrics='fid50k_full': compares with real images; give data"),
        ({"data": changed(resolution=32)}, r"data=faces: images of 32x32, .* 16x16; .*--resolution=16"),
        ({"data": changed(channels=1)}, "data=faces: 1 channels, .* have 3; .*--channels=3"),
        ({"config": LABELED}, "data=faces: label_dim=0, but the generator's is 2"),
        ({"config": LABELED, "data": changed(label_dim=3)}, "data=faces: label_dim=3, but the generator's is 2"),
        ({"config": GeneratorConfig(16, image_channels=4), "data": None, "names": ["is50k"]}, "RGB images, not 4"),
        ({"num_samples": 1}, "metrics='fid50k_full': needs 2 images at least, .* not 1"),
        ({"data": data(1)}, "metrics='fid50k_full': needs 2 images at least, .* not 1"),
        ({"names": ["pr50k3"], "data": data(3)}, "metrics='pr50k3': needs 4 images at least, .* not 3"),
        ({"names": ["dc50k5_full"], "num_samples": 5}, "metrics='dc50k5_full': needs 6 images at least, .* not 5"),
        ({"names": ["kid50k"], "num_samples": 1}, "metrics='kid50k': needs 2 images"),
        ({"names": ["is50k"], "num_samples": 9}, "metrics='is50k': needs 10 images"),
        ({"names": ["ppl_wend"]}, "metrics='ppl_wend': needs images of 32x32 at least, the generator's are 16x16"),
        ({"names": ["swd"], "config": TINY, "data": changed(resolution=8)}, "metrics='swd': needs images of 16x16 at "),
        ({"names": ["swd"], "config": WIDE, "data": changed(resolution=Size(40, 8))}, "at least, .* are 40x8; leave"),
        ({"names": ["eqr50k"], "config": TINY, "data": None}, "metrics='eqr50k': needs images of 13x13 at least"),
        ({"detector_dir": None}, "metrics='fid50k_full': .*give detector_dir"),
        ({"names": ["ppl2_wend"], "detector_dir": None}, "metrics='ppl2_wend': .*give detector_dir"),
        ({"num_samples": 0}, "num_samples=0"),
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], message: str):
    """By compute likewise, before it generates an image."""
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    given = {"names": ["fid50k_full"], "config": CONFIG, "data": data(), "detector_dir": "x", **kwargs}
    with pytest.raises(ConfigError, match=message) as refusal:
        check(**given)
    assert "\n" not in str(refusal.value)
    G = Colors(given.pop("config"))
    with pytest.raises(ConfigError, match=message):
        compute(G=G, **given)
    assert G.seen == 0


@pytest.mark.parametrize("argument", ["batch=0", "seed=-1"])
def test_compute_refuses(argument: str):
    G, (name, value) = Colors(CONFIG), argument.split("=")
    with pytest.raises(ConfigError, match=argument):
        compute(["swd"], G, data(), **{name: int(value)})
    assert G.seen == 0


def test_small_images():
    """Of the least size that each metric takes, and of two shapes."""
    for config in (TINY, WIDE):
        check(["kid_scattering", "eqt50k_int", "eqt50k_frac"], config, changed(resolution=config.resolution))
    check(["swd", "eqr50k"], StyleGAN2Config("48x16", fourier_input=True), changed(resolution=Size(48, 16)))


def test_missing_detectors_are_refused(tmp_path: Path):
    for name, verb in (("fid50k_full", "is"), ("pr50k3", "is"), ("ppl2_wend", "are")):
        with pytest.raises(DetectorError, match=f"{verb} not in the detector folder"):
            check([name], CONFIG, data(), detector_dir=tmp_path)
    check(["eqt50k_int"], CONFIG)


INCEPTION, LPIPS, VGG16 = "classify_image_graph_def.pb", "vgg.pth", "vgg16-397923af.pth"
SOURCES = [
    f"{INCEPTION} is in inception-2015-12-05.tgz at http://download.tensorflow.org/",
    "inception-2015-12-05.tgz (88,931,400 bytes)",
    f"{VGG16} is published at https://download.pytorch.org/",
    "(SHA-256 397923af..., 553,433,881 bytes)",
    f"{LPIPS} is published at https://github.com/richzhang/",
    "7,289 bytes)",
]


@pytest.mark.parametrize("present", [[], [INCEPTION], [LPIPS], [INCEPTION, VGG16]], ids=str)
def test_one_error_names_all_missing_detectors(tmp_path: Path, present: list[str]):
    """Also where those that are there are of another network."""
    for name in present:
        (tmp_path / name).write_bytes(b"")
    names = ["fid50k_full", "swd", "pr50k3_full", "ppl2_wend"]
    with pytest.raises(DetectorError) as error:
        check(names, GeneratorConfig(32), changed(resolution=32), detector_dir=tmp_path)
    message, missing = str(error.value), [name for name in (INCEPTION, VGG16, LPIPS) if name not in present]
    assert message.startswith(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the detector folder")
    assert message.count("://") == len(missing) and "put " in message and "\n" not in message
    if not present:
        assert all(text in message for text in SOURCES)


def test_without_a_folder_all_files_are_named():
    names = ["fid50k_full", "swd", "pr50k3_full", "ppl2_wend", "kid50k_full"]
    with pytest.raises(ConfigError) as error:
        check(names, GeneratorConfig(32), changed(resolution=32))
    message = str(error.value)
    assert message.startswith("metrics='fid50k_full,pr50k3_full,ppl2_wend,kid50k_full': give detector_dir, a folder ")
    assert [message.count(text) for text in SOURCES] == [1] * len(SOURCES) and "\n" not in message


def test_metrics_of_stylegan2():
    every = ["fid50k_full", "kid50k_full", "pr50k3_full", "is50k", "ppl2_wend", "sfid50k_full", "dc50k5_full"]
    with pytest.raises(DetectorError):  # and nothing else
        check(every, StyleGAN2Config(16), data(), detector_dir="nowhere")


def test_few_images_are_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """With the three features of the stub."""
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    for names, warned in ((["fid50k_full", "kid50k_full"], 1), (["kid50k_full"], 0)):
        caplog.clear()
        compute(names, Colors(), data(2), detector_dir="x", num_samples=20)
        assert [record.getMessage().startswith("fid50k_full: 2 images") for record in caplog.records] == [True] * warned
    caplog.clear()
    compute(["fid50k_full"], Colors(), data(3), detector_dir="x", num_samples=3)
    assert not caplog.records


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"labels": uniform_classes(2, 0)}, "labels=.*leave it out"),
        ({"G": Waves(GeneratorConfig(32, label_dim=2))}, "labels=None: give it, or data with labels, .* label_dim=2"),
        (
            {"G": Waves(GeneratorConfig(32, label_dim=2)), "labels": np.eye(2, dtype=np.float32).__getitem__},
            r"labels=<.*>: give sg3tf\.metrics\.Labels\(description, function\)",
        ),
        ({"names": "eqt50k_int"}, r"metrics='eqt50k_int': give a list, such as \['eqt50k_int'\]"),
    ],
)
def test_labels_and_names_refused(kwargs: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        compute(**{"names": ["eqt50k_int"], "G": Waves(), **kwargs})


def test_a_name_is_no_list_of_names():
    with pytest.raises(ConfigError, match=r"metrics='swd': give a list, such as \['swd'\]"):
        check("swd", CONFIG)


def test_labels_can_be_given_as_a_function_with_a_description():
    G = Waves(GeneratorConfig(32, label_dim=2))
    labels = metrics.Labels("first class", lambda position: np.float32([1, 0]))
    assert Evaluation(["eqt50k_int"], G, labels=labels).labels is labels


# --- Replicas ---------------------------------------------------------------------------------------------------------

REPLICAS = """
import dataclasses, json
from unittest import mock
import keras, numpy as np, tensorflow as tf
from sg3tf import Generator, build_generator
from sg3tf.models.loading import weights_digest
from sg3tf.metrics import Evaluation, detectors
from sg3tf.metrics.samples import uniform_classes
from tests.helpers.metric_stubs import Data
from trainer.distribution import make_strategy

class Corners:
    digest, outputs = "sha256:corners", {"pool": 4, "features": 4}
    def __init__(self):
        self.kernel = tf.Variable(np.random.default_rng(0).standard_normal([768, 4]), dtype=tf.float32)
    def __call__(self, images):
        features = tf.reshape(tf.cast(images, tf.float32), [-1, 768]) @ self.kernel
        return {"pool": features, "features": features}
    def distance(self, a, b):
        return tf.reduce_sum((a - b) ** 2, [1, 2, 3])

seen = []
def synthesis(*args, made_by=Generator.synthesis, **kwargs):
    seen.append(str(tf.distribute.get_replica_context().replica_id_in_sync_group))
    return made_by(*args, **kwargs)

strategy = make_strategy("cpu:2")
width = {"num_layers": 4, "channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4, "magnitude_ema_beta": 0.0}
with strategy.scope():
    keras.utils.set_random_seed(0)
    G = Generator.from_preset("stylegan3-t", resolution=16, label_dim=2, **width)
plain = build_generator(G.config)
plain.set_weights(G.get_weights())
labels = np.eye(2, dtype=np.float32)[np.arange(37) % 2]
data = Data(np.random.default_rng(0).integers(0, 256, [37, 3], np.uint8), labels)
names = ["fid50k_full", "pr50k3", "kid50k_full", "eqt50k_int", "eqt50k_frac", "eqr50k", "ppl2_wend"]
found, replicas = [{}, {}], {}
with mock.patch.object(detectors, "load", lambda name, folder: Corners()):
    common = {"data": data, "detector_dir": "x", "num_samples": 21, "batch": 4}
    for result in Evaluation(names, plain, **common):
        found[0] |= result.values
    with mock.patch.object(Generator, "synthesis", synthesis):
        for result in Evaluation(names, G, **common, strategy=strategy):
            found[1] |= result.values
            replicas[result.metric] = len(set(seen))
            seen.clear()
print(json.dumps([*found, replicas, weights_digest(G) == weights_digest(plain)]))
"""


@pytest.mark.slow
def test_two_devices_give_what_one_does():
    """Padding of the last batches is neither counted nor are images left out; only sums are rounded differently."""
    done = subprocess.run([sys.executable, "-c", REPLICAS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two, replicas, same = json.loads(done.stdout.splitlines()[-1])
    assert two == pytest.approx(one, rel=1e-6) and one["fid50k_full"] > 1
    of_features = {"pr50k3", "kid50k_full"}  # of the images of fid50k_full
    assert {name: count for name, count in replicas.items() if name not in of_features} == dict.fromkeys(
        ["fid50k_full", "eqt50k_int", "eqt50k_frac", "eqr50k", "ppl2_wend"], 2
    )
    assert same
