"""sg3tf metrics; one process runs all command lines, with a detector of mean colors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.cli import main as console
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.encoding import encode_png
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.samples import open_data, uniform_classes
from sg3tf.models import loading
from sg3tf.models.loading import weights_digest
from tests.helpers.metric_stubs import MeanColor

ROOT = Path(__file__).parents[3]
PROGRAM = """
import contextlib, io, json, sys
from sg3tf.metrics import detectors
from sg3tf.cli.main import main
from tests.helpers.metric_stubs import MeanColor

load = detectors.load
detectors.load = lambda name, folder: MeanColor() if folder.name == "stubs" else load(name, folder)
results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["metrics", *arguments])
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""
WIDTH = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}

Result = tuple[int, str, str]  # exit status, standard output, standard error


def run(*lines: list[str]) -> list[Result]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(process.stdout.splitlines()[-1])


def saved(path: Path, preset: str, **config: int) -> Path:
    keras.utils.set_random_seed(0)
    sg3tf.Generator.from_preset(preset, resolution=16, **WIDTH, **config).save(path)
    return path


def faces(folder: Path, resolution: int, labeled: bool) -> Path:
    """20 images, of two classes."""
    rng = np.random.default_rng(0)
    source = folder / f"images-{resolution}-{labeled}"
    for i in range(20):
        image = source / (f"class{i % 2}" if labeled else "") / f"{i}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(encode_png(rng.integers(0, 256, [resolution, resolution, 3], np.uint8)))
    build(source, folder / f"faces-{resolution}-{labeled}", BuildConfig(resolution, resize="box"))
    return folder / f"faces-{resolution}-{labeled}"


class Measured:
    """Stands for sg3tf.metrics.Evaluation."""

    labels = data = None
    detectors: ClassVar[dict[str, Any]] = {}

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        yield SimpleNamespace(metric="swd", values={}, unit="", num_samples=1, num_real=1)


def test_a_run_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The kimg are those of the network that was measured."""
    first = saved(tmp_path / "network-snapshot-000007.keras", "stylegan2")
    load_model = loading.load_model

    def load_while_training(*arguments: Any) -> Any:
        shutil.copy(first, tmp_path / "network-snapshot-000009.keras")
        return load_model(*arguments)

    monkeypatch.setattr(loading, "load_model", load_while_training)
    monkeypatch.setattr("sg3tf.metrics.Evaluation", Measured)
    assert console.main(["metrics", f"--network={tmp_path}", "--metrics=swd"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["kimg"], line["network"]) == (7, str(tmp_path))


def test_the_data_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Used for metrics that compare with real images; --data= turns them off."""
    seen = []

    class Seen(Measured):
        def __init__(self, names: list[str], G: Any, data: Any, **_: Any) -> None:
            seen.append((names, data))

    monkeypatch.setattr("sg3tf.metrics.Evaluation", Seen)
    command = ["metrics", f"--network={saved(tmp_path / 'network-snapshot-000007.keras', 'stylegan2')}"]
    (tmp_path / "faces").mkdir()
    faces, moved = str(tmp_path / "faces"), str(tmp_path / "moved")
    for recorded in (faces, moved, "faces"):
        (tmp_path / "options.json").write_text(json.dumps({"data": recorded}))
        assert console.main(command) == 0
        assert (f"--data={faces}, as in {tmp_path / 'options.json'}" in capsys.readouterr().err) == (recorded == faces)
    (tmp_path / "options.json").write_text(json.dumps({"data": faces}))
    assert console.main([*command, "--data="]) == console.main([*command, "--metrics=ppl2_wend"]) == 0
    default = ["swd", "kid_scattering"]
    assert seen == [(default, faces), *[(default, None)] * 3, (["ppl2_wend"], None)]


@pytest.mark.slow
def test_command(tmp_path: Path):
    network = saved(tmp_path / "network-snapshot-000200_016.keras", "stylegan3-t", label_dim=2)
    stylegan2 = saved(tmp_path / "stylegan2.keras", "stylegan2")
    one_number = saved(tmp_path / "age.keras", "stylegan3-t", label_dim=1)
    labeled, unlabeled, larger = (faces(tmp_path, *args) for args in ((16, True), (16, False), (32, True)))
    out, cache = tmp_path / "metrics.jsonl", tmp_path / "cache"
    out.write_text("{}\n")
    (tmp_path / "empty").mkdir()
    motions = [f"--network={network}", "--metrics=eqt50k_int,eqt50k_frac", "--num_samples=3", "--seed=4"]
    features = [f"--network={network}", "--metrics=fid50k_full,pr50k3", "--num_samples=12", "--batch=5"]
    features += [f"--data={labeled}", "--detector_dir=stubs", f"--cache_dir={cache}"]
    self_contained = [f"--network={network}", "--metrics=swd,kid_scattering", "--num_samples=12", f"--data={labeled}"]
    moved, compared, of_stylegan2, without_files, of_class, *refused = run(
        [*motions, f"--out={out}"],
        features,
        [*features, f"--network={stylegan2}", f"--data={unlabeled}", "--cache_dir="],
        [*self_contained, "--cache_dir="],
        [*self_contained, "--cache_dir=", "--metrics=swd", "--class=class1"],
        [*motions, "eqr50k"],
        [*motions, "--metrics=fid"],
        [*motions, "--network=missing.keras"],
        [*motions, "--num_samples=0"],
        [*motions, f"--out={tmp_path}/missing/metrics.jsonl"],
        [*motions, f"--network={stylegan2}"],
        [*features, f"--data={larger}"],
        [*features, f"--data={unlabeled}"],
        [*features, f"--data={tmp_path / 'empty'}"],
        [*features, "--data="],
        [*features, "--detector_dir=nowhere"],
        [*motions, "--class=class1"],
        [*motions, f"--network={one_number}"],
        [*features, "--class=class2"],
    )

    G = sg3tf.load(network)
    common = {"labels": "uniform classes", "kimg": 200.016, "replicas": 1, "network": str(network)}
    common |= {"weights": weights_digest(G), "sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}
    status, printed, shown = moved
    assert status == 0, shown
    assert out.read_text() == "{}\n" + printed
    lines = [json.loads(line) for line in printed.splitlines()]
    assert all(line.pop("seconds") > 0 for line in lines)
    values = [line.pop("results")[line["metric"]] for line in lines]
    expected = compute(["eqt50k_int"], G, num_samples=3, seed=4, labels=uniform_classes(2, seed=4))["eqt50k_int"]
    assert values == pytest.approx([expected, expected], abs=10) and values[0] == pytest.approx(expected, abs=1e-3)
    of_motions = {"unit": "dB", "num_samples": 3, "num_real": 0, "seed": 4, "batch": 8, "data": None, "detectors": {}}
    assert lines == [{"metric": name, **of_motions, **common} for name in ("eqt50k_int", "eqt50k_frac")]

    status, printed, shown = compared
    assert status == 0, shown
    lines = [json.loads(line) for line in printed.splitlines()]
    data = open_data(labeled, labels=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "load", lambda name, folder: MeanColor())
        expected = compute(["fid50k_full", "pr50k3"], G, data, num_samples=12, batch=5, detector_dir="stubs")
    assert lines[0]["results"] | lines[1]["results"] == pytest.approx(expected, rel=1e-6)
    assert all(line.pop("seconds") >= 0 for line in lines)
    assert list(lines[1].pop("results")) == ["pr50k3_precision", "pr50k3_recall"] and lines[0].pop("results")
    described = {"path": str(labeled), "digest": data.digest, "part": data.part, "num_images": 20}
    detector = {"digest": MeanColor().digest, "resize": MeanColor.resize}
    for line in lines:
        assert line.pop("detectors") == {"inception": detector, "vgg16": detector}
    of_features = {"unit": None, "num_samples": 12, "num_real": 20, "seed": 0, "batch": 5}
    of_features |= {"data": {**described, "resize_filter": "box"}}
    common["labels"] = f"of images drawn from {data.digest}, part {data.part}"
    assert lines == [{"metric": name, **of_features, **common} for name in ("fid50k_full", "pr50k3")]
    assert len(list(cache.glob("features/*/about.json"))) == 2

    status, printed, shown = without_files
    assert status == 0, shown
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["metric"] for line in lines] == ["swd", "kid_scattering"]
    assert {one["resize"] for line in lines for one in line["detectors"].values()} == {"none"}

    status, printed, shown = of_class
    assert status == 0, shown
    line = json.loads(printed)
    part = data.of_class("class1").part
    assert (line["data"]["part"], line["data"]["num_images"], line["num_real"]) == (part, 10, 10)
    assert line["labels"] == f"of images drawn from {data.digest}, part {part}"

    status, printed, shown = of_stylegan2
    assert status == 0 and [json.loads(line)["labels"] for line in printed.splitlines()] == [None, None], shown
    assert {json.loads(line)["kimg"] for line in printed.splitlines()} == {None}  # stylegan2.keras

    reasons = [["'eqr50k'"], ["metrics='fid'"], ["missing.keras"], ["num_samples=0"], ["missing/metrics"]]
    reasons += [
        ["eqt50k_int", "StyleGAN2Config"],
        ["resolution 16 does not exist", "available: 32", "sg3tf data build"],
    ]
    reasons += [["label_dim=0, but the generator's is 2"], ["empty", "holds no images"], ["give data"]]
    reasons += [["classify_image_graph_def.pb"], ["class=class1: needs", "--data"]]
    reasons += [["age.keras: its label is one number", "give --data"], ["has the classes class0, class1"]]
    for (status, printed, shown), words in zip(refused, reasons, strict=True):
        assert status == 1 and not printed, (words, printed)
        (line,) = (line for line in shown.splitlines() if line.startswith("sg3tf metrics: "))
        assert all(word in line for word in words) and shown.count("\n") == 1, shown
