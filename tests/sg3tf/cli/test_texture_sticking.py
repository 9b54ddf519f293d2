"""sg3tf texture-sticking, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import sg3tf
from sg3tf.metrics.texture_sticking import Views
from sg3tf.models.loading import write_label_files
from sg3tf.utils.label_scale import LabelScale
from tests.helpers import console


def test_standardized_numbers_have_their_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = []

    def measure(views: Views, *_: object) -> None:
        given.append(views.label.tolist())
        raise ValueError("enough")

    monkeypatch.setattr("sg3tf.cli.texture_sticking._measure", measure)
    width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}
    sg3tf.Generator.from_preset("stylegan2", resolution=16, label_dim=2, **width).save(tmp_path / "a.keras")
    command = ["texture-sticking", f"--network={tmp_path / 'a.keras'}", f"--outdir={tmp_path}"]
    assert console.main(command) == 1 and sorted(given[-1]) == [0, 1]
    write_label_files(tmp_path, (), LabelScale((1.0, 2.0), (1.0, 1.0)))
    assert console.main(command) == 1 and given[-1] == [0, 0]


@pytest.mark.slow
def test_command(tmp_path: Path):
    paths = [str(tmp_path / f"{preset}.keras") for preset in ("stylegan3-t", "stylegan2")]
    for path in paths:
        keras.utils.set_random_seed(0)
        width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}
        sg3tf.Generator.from_preset(Path(path).stem, resolution=16, **width).save(path)
    out = tmp_path / "out"
    lines = [
        [f"--network={','.join(paths)}", f"--outdir={out}", "--num_samples=4", "--batch=3", "--seed=5"],
        ["--network=missing.keras", f"--outdir={out}"],
        [f"--network={paths[0]}", f"--outdir={out}", "more"],
        [f"--network={paths[0]}", f"--outdir={paths[0]}"],
    ]
    (status, printed, shown), *refused = (console.run("texture-sticking", *line) for line in lines)
    assert status == 0, shown
    T, stylegan2 = (json.loads(line) for line in printed.splitlines())
    assert [T["network"], stylegan2["network"]] == paths
    assert stylegan2["fixed_moving"] is None and len(T["fixed_moving"]) == len(T["cycles_per_pixel"])
    assert (T["seed"], T["num"], T["radius"], T["psi"]) == (5, 4, 0.5, 1.0)
    assert sorted(path.name for path in out.iterdir()) == ["fixed.png", "motions.png", "neighbors.png", "slices.png"]
    for path in out.iterdir():
        assert len(np.unique(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0)) > 10, path
    for (status, printed, shown), reason in zip(refused, ["missing.keras", "'more'", "File exists"], strict=True):
        assert status == 1 and not printed and reason in shown, (reason, shown)
        assert shown.startswith("sg3tf texture-sticking: ") and shown.count("\n") == 1, shown
