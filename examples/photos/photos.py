"""Trains on crops of the two photographs that scikit-learn ships, and shows how fakes approach reals.

python examples/photos/photos.py --out=runs/photos
python examples/photos/photos.py --out=runs/photos-ada -- --aug=ada    # after --: more flags of sg3tf train
Run it again with a larger --kimg to continue the training.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sg3tf.utils import startup_notices

startup_notices.hide()

import keras
import numpy as np
from absl import app, flags
from distance import DistanceToReals
from drawing import draw_curve, draw_rows
from numpy.typing import NDArray
from PIL import Image

import sg3tf
from sg3tf import images, latents
from sg3tf.models.loading import snapshots

_OUT = flags.DEFINE_string("out", "runs/photos", "Folder to make data, run, photos.json and pictures in.")
_KIMG = flags.DEFINE_float("kimg", 48.0, "Length of the run, in thousands of images.")
_CROPS = flags.DEFINE_integer("crops", 4000, "How many crops to train on; as many are held out.", lower_bound=100)
_FAKES = flags.DEFINE_integer("fakes", 1000, "How many images of each snapshot are compared.", lower_bound=100)

# Small enough for two cores.
_TRAINING = ["--cfg=stylegan3-t", "--batch=16", "--gamma=0.05", "--cbase=1024", "--cmax=32", "--aug=noaug"]
_LOSSES = ("Loss/D/loss", "Loss/G/loss")
_CROP_SCRIPT = Path(__file__).parents[1] / "demo" / "sample_photo_crops.py"
_COLUMNS, _ROWS = 16, 6  # of the picture of fakes


def main(argv: list[str]) -> None:
    """Data, training, measurement, pictures."""
    out = Path(_OUT.value)
    reals, held_out = _crops(out / "crops", seed=0), _crops(out / "held_out", seed=1)
    run = _train(out, more_flags=argv[1:])
    report, rows = _measure(run, reals, held_out)
    (out / "photos.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_curve(out / "curve.png", report)
    draw_rows(out / "fakes.png", {**_some(rows), "real": reals[:_COLUMNS]})
    print(f"\nSee {out}/photos.json, curve.png and fakes.png")


def _crops(folder: Path, seed: int) -> NDArray[np.uint8]:
    """Returns uint8 [--crops, 32, 32, 3], the content of a folder that is made if it is not there."""
    if not folder.exists():
        size = [f"--count={_CROPS.value}", "--resolution=32"]
        _python(str(_CROP_SCRIPT), f"--outdir={folder}", *size, f"--seed={seed}")
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def _train(out: Path, more_flags: list[str]) -> Path:
    """Begins or continues the run; returns its folder."""
    if not (out / "data").exists():
        where = [f"--source={out / 'crops'}", f"--outdir={out / 'data'}"]
        _python("-m", "sg3tf", "data", "build", *where, "--resolution=32")
    where = [f"--outdir={out / 'training'}", f"--data={out / 'data'}", "--resume=latest"]
    reports = [f"--kimg={_KIMG.value:g}", "--tick=1", "--snap=2"]
    _python("-m", "sg3tf", "train", *where, *_TRAINING, *reports, *more_flags)
    return max(path for path in (out / "training").iterdir() if (path / "checkpoints").is_dir())


def _measure(
    run: Path, reals: NDArray[np.uint8], held_out: NDArray[np.uint8]
) -> tuple[dict[str, Any], dict[str, NDArray[np.uint8]]]:
    """Returns what photos.json says, and for each snapshot the images of the first few seeds."""
    distance = DistanceToReals(reals)
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    losses = {int(line["Progress/kimg"]["mean"]): {name: line[name]["mean"] for name in _LOSSES} for line in lines}
    files = snapshots(run)
    keras.utils.set_random_seed(0)
    G = sg3tf.build_generator(sg3tf.load(next(iter(files.values()))).config)
    z = latents.z_from_seeds(range(_FAKES.value), G.config.z_dim)
    generate = partial(G.predict, z, batch_size=50, verbose=0)
    report: dict[str, Any] = {
        "held_out": distance(held_out[: _FAKES.value]),
        "random_weights": distance(images.to_uint8(generate())),
        "snapshots": [],
    }
    rows = {}
    for nimg, path in files.items():
        G.load_weights(path)
        fakes, kimg = images.to_uint8(generate()), nimg // 1000
        snapshot = {"kimg": kimg, "distance": distance(fakes), **losses[kimg]}
        report["snapshots"].append(snapshot)
        rows[f"{kimg} kimg"] = fakes[:_COLUMNS]
        print("  ".join(f"{name} {value:.3g}" for name, value in snapshot.items()), flush=True)
    return report, rows


def _some(rows: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """The first, the last, and a few between, more of the early ones: they differ more."""
    chosen = {round(place) - 1 for place in np.geomspace(1, len(rows), _ROWS)}
    return {name: row for place, (name, row) in enumerate(rows.items()) if place in chosen}


def _python(*arguments: str) -> None:
    command = shlex.join(["python", *arguments]).replace("python -m sg3tf ", "sg3tf ", 1)
    print(f"\n$ {command}", flush=True)
    status = subprocess.run([sys.executable, *arguments]).returncode
    if status:
        raise SystemExit(f"{command} ended with status {status}; its message is above")


if __name__ == "__main__":
    app.run(main)
