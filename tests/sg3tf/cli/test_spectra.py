"""sg3tf spectra, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import sg3tf
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.metrics.spectra import load_normalized, load_spectrum, radial_average
from sg3tf.models.loading import write_label_files
from sg3tf.utils.label_scale import LabelScale
from tests.helpers import console


def images(folder: Path, count: int) -> Path:
    """Gray noise in a folder of PNG files, as a data set."""
    source = folder / "source"
    source.mkdir()
    rng = np.random.default_rng(8)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, [16, 16, 3], np.uint8)).save(source / f"{i}.png")
    build(source, folder / "data", BuildConfig(16))
    return folder / "data"


def test_labels_that_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}
    sg3tf.Generator.from_preset("stylegan2", resolution=16, label_dim=2, **width).save(tmp_path / "a.keras")
    write_label_files(tmp_path, (), LabelScale((1.0, 2.0), (1.0, 1.0)))
    command = ["spectra", "calc", f"--network={tmp_path / 'a.keras'}", f"--out={tmp_path / 'a.npz'}", "--num_samples=1"]
    assert console.main(command) == 1
    assert "a.keras: its label is standardized numbers, of which none can be drawn" in capsys.readouterr().err


@pytest.mark.slow
def test_command(tmp_path: Path):
    network = tmp_path / "network.keras"
    keras.utils.set_random_seed(0)
    width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}
    sg3tf.Generator.from_preset("stylegan2", resolution=16, **width).save(network)
    data = images(tmp_path, 4)
    a, b, png = (str(tmp_path / name) for name in ("a.npz", "b.npz", "picture.png"))
    calc, of_data = ["calc", f"--network={network}", "--num_samples=3"], ["calc", f"--data={data}"]
    lines = [
        [*of_data, f"--out={a}"],
        [*calc, "--seed=2", f"--out={b}"],
        ["compare", a, b, f"--out={tmp_path}/compare.png"],
        ["heatmap", a, b, f"--out={tmp_path}/heatmap.png"],
        ["slices", a, b, "--low=-40", f"--out={tmp_path}/slices.png"],
    ]
    refusals = {
        "unknown command 'clac'; did you mean calc?": ["clac", a, f"--out={png}"],
        "0 files: give at least 1": ["heatmap", f"--out={png}"],
        "1 files: give at least 2": ["compare", a, f"--out={png}"],
        "missing.npz: no such file": ["slices", a, f"{tmp_path}/missing.npz", f"--out={png}"],
        "give a name that ends in .png": ["slices", a, f"--out={tmp_path}/c.npz"],
        "there is no folder": ["slices", a, f"--out={tmp_path}/nowhere/c.png"],
        "low=3.0: give less than high=2.0": ["slices", a, "--low=3", "--high=2", f"--out={png}"],
        "give one of --data and --network": ["calc", f"--out={tmp_path}/c.npz"],
        "unexpected argument 'b'": [*calc, "b", f"--out={tmp_path}/c.npz"],
        "resolution=16: a network has its own": [*calc, "--resolution=16", f"--out={tmp_path}/c.npz"],
        "num_samples=5:": [*of_data, "--num_samples=5", f"--out={tmp_path}/c.npz"],
        "nothing.keras": ["calc", "--network=nothing.keras", f"--out={tmp_path}/c.npz"],
        "does not exist": ["calc", "--data=nothing", f"--out={tmp_path}/c.npz"],
    }
    done = [console.run("spectra", *line) for line in lines]
    refused = [console.run("spectra", *line) for line in refusals.values()]

    assert [status for status, _, _ in done] == [0] * 5, done
    for name in ("compare", "heatmap", "slices"):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20 and tuple(pixels[0, 0]) == (255, 255, 255)
    of_a, of_b = load_spectrum(Path(a)).settings, load_spectrum(Path(b)).settings
    assert of_a["num"] == 4 and of_a["digest"].startswith("sha256:") and of_a["resolution"] == 16
    assert (of_b["network"], of_b["seed"], of_b["num"]) == (str(network), 2, 3)

    line = json.loads(done[2][1])
    assert (line["file"], line["reference"]) == (b, a)
    powers = load_normalized([Path(a), Path(b)])
    of_rings = [10 * np.log10(radial_average(power, 16)[1]) for power in powers.values()]
    assert line["difference_db"] == pytest.approx((of_rings[1] - of_rings[0]).tolist(), abs=1e-4)
    assert line["cycles_per_pixel"][8] == 0.5
    assert line["rms_db"] == pytest.approx(np.sqrt(np.mean(np.square(line["difference_db"][:9]))), abs=1e-3)

    for (status, printed, shown), reason in zip(refused, refusals, strict=True):
        assert status == 1 and not printed, (reason, printed)
        assert shown.startswith("sg3tf spectra") and reason in shown and shown.count("\n") == 1, shown
    assert not list(tmp_path.glob("c.*")) and not Path(png).exists()
