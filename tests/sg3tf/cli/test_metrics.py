"""sg3tf metrics, in this process, with a detector of mean colors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

import sg3tf
from sg3tf import GeneratorConfig
from sg3tf.cli import metrics as command
from sg3tf.cli.main import main
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.encoding import encode_png
from sg3tf.images import save_png
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.samples import open_data, uniform_classes
from sg3tf.models import loading
from sg3tf.models.loading import weights_digest
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.resolution import Size
from tests.helpers import console
from tests.helpers.console import Result
from tests.helpers.metric_stubs import MeanColor

WIDTH = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}


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
    assert main(["metrics", f"--network={tmp_path}", "--metrics=swd"]) == 0
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
    data, moved = str(faces(tmp_path, 16, False)), str(tmp_path / "moved")
    run = {"data_digest": open_data(data).digest, "resolution": 16}
    for recorded in (data, moved, "faces"):
        (tmp_path / "options.json").write_text(json.dumps(run | {"data": recorded}))
        assert main(command) == 0
        assert (f"--data={data}, as in {tmp_path / 'options.json'}" in capsys.readouterr().err) == (recorded == data)
    (tmp_path / "options.json").write_text(json.dumps(run | {"data": data}))
    assert main([*command, "--data="]) == main([*command, "--metrics=ppl2_wend"]) == 0
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "cats.keras").symlink_to(tmp_path / "network-snapshot-000007.keras")
    assert main([*command, f"--network={tmp_path / 'link' / 'cats.keras'}"]) == 0
    default = ["swd", "kid_scattering"]
    assert seen == [(default, data), *[(default, None)] * 3, (["ppl2_wend"], None), (default, data)]
    build(tmp_path / "images-16-False", tmp_path / "wide", BuildConfig(Size(32, 16)))
    wide = {"data": str(tmp_path / "wide"), "data_digest": open_data(tmp_path / "wide").digest, "resolution": [32, 16]}
    (tmp_path / "options.json").write_text(json.dumps(wide))
    assert main(command) == 0 and seen[-1] == (default, str(tmp_path / "wide"))
    (tmp_path / "options.json").write_text(json.dumps(run | {"data": data, "data_digest": "sha256:0"}))
    assert main(command) == 1
    assert f"{data} holds other images than when {tmp_path} was trained; give --data" in capsys.readouterr().err


def test_labels_that_are_standardized_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose scale is of the width of the label; others in the folder are of another network."""
    monkeypatch.setattr("sg3tf.metrics.Evaluation", Measured)
    command = ["metrics", f"--network={saved(tmp_path / 'a.keras', 'stylegan2', label_dim=2)}", "--metrics=ppl2_wend"]
    loading.write_label_files(tmp_path, (), LabelScale((1.0, 2.0, 3.0), (1.0, 1.0, 1.0)))
    assert main(command) == 0
    loading.write_label_files(tmp_path, (), LabelScale((1.0, 2.0), (1.0, 1.0)))
    assert main(command) == 1
    assert "a.keras: its label is standardized numbers; give --data" in capsys.readouterr().err


MOTIONS = ["--network={folder}/network-snapshot-000200_016.keras", "--metrics=eqt50k_int,eqt50k_frac"]
MOTIONS += ["--num_samples=3", "--seed=4"]
FEATURES = ["--network={folder}/network-snapshot-000200_016.keras", "--metrics=fid50k_full,pr50k3"]
FEATURES += ["--num_samples=12", "--batch=5", "--data={folder}/faces-16-True", "--detector_dir=stubs"]
FEATURES += ["--cache_dir={folder}/cache"]
SELF_CONTAINED = ["--network={folder}/network-snapshot-000200_016.keras", "--metrics=swd,kid_scattering"]
SELF_CONTAINED += ["--num_samples=12", "--data={folder}/faces-16-True", "--cache_dir="]

MEASURED = {
    "motions": [*MOTIONS, "--out={folder}/metrics.jsonl"],
    "features": FEATURES,
    "features of another network": [
        *FEATURES, "--network={folder}/stylegan2.keras", "--data={folder}/faces-16-False", "--cache_dir="
    ],
    "without files": SELF_CONTAINED,
    "of a class": [*SELF_CONTAINED, "--metrics=swd", "--class=class1"],
}  # fmt: skip

#: Command lines, and what the line of the refusal has to name.
REFUSED = {
    "argument": ([*MOTIONS, "eqr50k"], ["'eqr50k'"]),
    "metric": ([*MOTIONS, "--metrics=fid"], ["metrics='fid'"]),
    "no network": ([*MOTIONS, "--network=missing.keras"], ["missing.keras"]),
    "no samples": ([*MOTIONS, "--num_samples=0"], ["num_samples=0"]),
    "no folder": ([*MOTIONS, "--out={folder}/missing/metrics.jsonl"], ["missing/metrics"]),
    "not moved": ([*MOTIONS, "--network={folder}/stylegan2.keras"], ["eqt50k_int", "StyleGAN2Config"]),
    "resolution": (
        [*FEATURES, "--data={folder}/faces-32-True"],
        ["resolution 16 does not exist", "available: 32", "sg3tf data build"],
    ),
    "no labels": ([*FEATURES, "--data={folder}/faces-16-False"], ["label_dim=0, but the generator's is 2"]),
    "no images": ([*FEATURES, "--data={folder}/empty"], ["empty", "holds no images"]),
    "no data": ([*FEATURES, "--data="], ["give data"]),
    "no detector": ([*FEATURES, "--detector_dir=nowhere"], ["classify_image_graph_def.pb"]),
    "class without data": ([*MOTIONS, "--class=class1"], ["class=class1: needs", "--data"]),
    "label of one number": (
        [*MOTIONS, "--network={folder}/age.keras"], ["age.keras: its label is one number", "give --data"]
    ),
    "unknown class": ([*FEATURES, "--class=class2"], ["has the classes class0, class1"]),
}  # fmt: skip


class Commands(NamedTuple):
    """The folder of all files, and what each command line printed."""

    folder: Path
    results: dict[str, Result]

    @property
    def generator(self) -> sg3tf.Generator:
        return sg3tf.load(self.folder / "network-snapshot-000200_016.keras")

    @property
    def data(self) -> Any:
        return open_data(self.folder / "faces-16-True", labels=True)

    def measured(self, name: str) -> list[dict[str, Any]]:
        """The lines that the command printed."""
        status, printed, shown = self.results[name]
        assert status == 0, shown
        return [json.loads(line) for line in printed.splitlines()]

    def common(self, labels: str) -> dict[str, Any]:
        """What every line about the first network says."""
        said = {"labels": labels, "kimg": 200.016, "replicas": 1, "weights": weights_digest(self.generator)}
        said |= {"network": str(self.folder / "network-snapshot-000200_016.keras")}
        return said | {"sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    folder = tmp_path_factory.mktemp("commands")
    saved(folder / "network-snapshot-000200_016.keras", "stylegan3-t", label_dim=2, num_layers=4)
    saved(folder / "stylegan2.keras", "stylegan2")
    saved(folder / "age.keras", "stylegan3-t", label_dim=1, num_layers=4)
    for resolution, labeled in ((16, True), (16, False), (32, True)):
        faces(folder, resolution, labeled)
    (folder / "metrics.jsonl").write_text("{}\n")
    (folder / "empty").mkdir()
    load = detectors.load
    lines = MEASURED | {name: flags for name, (flags, _) in REFUSED.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "load", lambda name, at: MeanColor() if at.name == "stubs" else load(name, at))
        results = {
            name: console.run("metrics", *(flag.format(folder=folder) for flag in flags))
            for name, flags in lines.items()
        }
    return Commands(folder, results)


@pytest.mark.slow
def test_metrics_of_motions(commands: Commands) -> None:
    lines, G = commands.measured("motions"), commands.generator
    assert (commands.folder / "metrics.jsonl").read_text() == "{}\n" + commands.results["motions"][1]
    assert all(line.pop("seconds") > 0 for line in lines)
    names = ["eqt50k_int", "eqt50k_frac"]
    values = [line.pop("results")[line["metric"]] for line in lines]
    expected = compute(names, G, num_samples=3, seed=4, labels=uniform_classes(2, seed=4))
    assert values == pytest.approx([expected[name] for name in names], abs=1e-3)
    of_motions = {"unit": "dB", "num_samples": 3, "num_real": 0, "seed": 4, "batch": 8, "data": None, "detectors": {}}
    common = commands.common("uniform classes")
    assert lines == [{"metric": name, **of_motions, **common} for name in names]


@pytest.mark.slow
def test_metrics_of_features(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, data = commands.measured("features"), commands.data
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    given = {"num_samples": 12, "batch": 5, "detector_dir": "stubs"}
    expected = compute(["fid50k_full", "pr50k3"], commands.generator, data, **given)
    assert lines[0]["results"] | lines[1]["results"] == pytest.approx(expected, rel=1e-6)
    assert all(line.pop("seconds") >= 0 for line in lines)
    assert list(lines[1].pop("results")) == ["pr50k3_precision", "pr50k3_recall"] and lines[0].pop("results")
    detector = {"digest": MeanColor().digest, "resize": MeanColor.resize}
    for line in lines:
        assert line.pop("detectors") == {"inception": detector, "vgg16": detector}
    described = {"path": str(commands.folder / "faces-16-True"), "digest": data.digest, "part": data.part}
    of_features = {"unit": None, "num_samples": 12, "num_real": 20, "seed": 0, "batch": 5}
    of_features |= {"data": {**described, "num_images": 20, "resize_filter": "box"}}
    common = commands.common(f"of images drawn from {data.digest}, part {data.part}")
    assert lines == [{"metric": name, **of_features, **common} for name in ("fid50k_full", "pr50k3")]
    assert len(list((commands.folder / "cache").glob("features/*/about.json"))) == 2


@pytest.mark.slow
def test_metrics_without_files_of_detectors(commands: Commands) -> None:
    lines = commands.measured("without files")
    assert [line["metric"] for line in lines] == ["swd", "kid_scattering"]
    assert {one["resize"] for line in lines for one in line["detectors"].values()} == {"none"}


@pytest.mark.slow
def test_metrics_of_a_class(commands: Commands) -> None:
    (line,) = commands.measured("of a class")
    data = commands.data
    part = data.of_class("class1").part
    assert (line["data"]["part"], line["data"]["num_images"], line["num_real"]) == (part, 10, 10)
    assert line["labels"] == f"of images drawn from {data.digest}, part {part}"


@pytest.mark.slow
def test_metrics_of_a_network_without_labels_and_kimg(commands: Commands) -> None:
    lines = commands.measured("features of another network")
    assert [(line["labels"], line["kimg"]) for line in lines] == [(None, None)] * 2  # stylegan2.keras


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_refusals(commands: Commands, case: str) -> None:
    (status, printed, shown), (_, words) = commands.results[case], REFUSED[case]
    assert status == 1 and not printed
    (line,) = (line for line in shown.splitlines() if line.startswith("sg3tf metrics: "))
    assert all(word in line for word in words) and shown.count("\n") == 1, shown


def test_class_numbers_of_converted_networks(tmp_path: Path) -> None:
    """Networks without class names have the numbers that the data's classes had; others have their own order."""
    for i in range(2):
        save_png(tmp_path / f"{i}.png", np.zeros([16, 16, 3], np.uint8))
    (tmp_path / "dataset.json").write_text('{"labels": [["0.png", 1], ["1.png", 2]]}')
    options = flags.FlagValues()
    command.define_flags(options)
    options(["metrics", "--network=x", f"--data={tmp_path}"])
    config = GeneratorConfig(16, label_dim=3)
    converted, own = (command._data(options, config, names) for names in ((), ("ant", "bee", "cat")))
    assert [converted.label(i).tolist() for i in range(2)] == [[0, 1, 0], [0, 0, 1]]
    assert own.label_dim == 2  # which `Evaluation` refuses
    assert command._data(options, GeneratorConfig(16), ()) == str(tmp_path)
