"""python -m sg3tf.generate: images from a trained generator.

python -m sg3tf.generate --model=runs/00000-stylegan3-t-faces-batch32-gamma2 --seeds=0-15 --psi=0.7 --out=grid.png
"""

from __future__ import annotations

import os
import sys

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import numpy as np

from sg3tf import images, latents
from sg3tf.checkpoints import load
from sg3tf.generator import Generator

_MODEL = flags.DEFINE_string("model", None, ".keras file, checkpoint folder or run folder.", required=True)
_SEEDS = flags.DEFINE_string("seeds", "0-15", "Seeds and ranges: 0-15 or 3,7,100-103.")
_PSI = flags.DEFINE_float("psi", 1.0, "Truncation: 1 is none, 0 the average image.")
_LABEL = flags.DEFINE_integer("label", None, "Class number, for a model with labels.")
_ANGLE = flags.DEFINE_float("angle", 0.0, "Rotates the image clockwise, in degrees.")
_SHIFT = flags.DEFINE_list("shift", ["0", "0"], "Moves the image right and down, in image widths: X,Y.")
_OUT = flags.DEFINE_string("out", "grid.png", "PNG to write all images to, as a grid.")

_BATCH = 8


def main(argv: list[str]) -> int:
    """Writes the grid; returns the exit status."""
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        seeds = latents.parse_seeds(_SEEDS.value)
        dx, dy = (float(value) for value in _SHIFT.value)
        G = load(_MODEL.value)
        labels = _labels(G, len(seeds))
    except (OSError, ValueError) as error:
        return _fail(str(error))
    z = latents.z_from_seeds(seeds, G.config.z_dim)
    transform = latents.transform_matrix(np.radians(_ANGLE.value), dx, dy)
    parts = []
    for start in range(0, len(z), _BATCH):
        inputs = {"z": z[start : start + _BATCH]}
        if labels is not None:
            inputs["label"] = labels[start : start + _BATCH]
        parts.append(images.to_uint8(G(inputs, truncation_psi=_PSI.value, transform=transform)))
    images.save_png(_OUT.value, images.grid(np.concatenate(parts)))
    print(_OUT.value)
    return 0


def _labels(G: Generator, count: int) -> np.ndarray | None:
    dim = G.config.label_dim
    if _LABEL.value is None and dim == 0:
        return None
    if _LABEL.value is None or not 0 <= _LABEL.value < dim:
        remedy = f"give a class from 0 to {dim - 1}" if dim else "leave it out: this model has no labels"
        raise ValueError(f"--label={_LABEL.value}: {remedy}")
    return np.tile(np.eye(dim, dtype=np.float32)[_LABEL.value], (count, 1))


def _fail(message: str) -> int:
    print(f"sg3tf.generate: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
