"""Command line of the client: seeds in, PNG files out.

python -m serving.client --seeds=0-15 --psi=0.7 --out=grid.png
python -m serving.client --seeds=3,7,3 --interpolate=strip.png --frames=12
"""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from serving.client.connection import Client, ServingError
from sg3tf import images, latents

_SERVER = flags.DEFINE_string("server", "127.0.0.1:8500", "HOST:PORT of the gRPC port.")
_MODEL = flags.DEFINE_string("model", "sg3", "Name of the model on the server.")
_SEEDS = flags.DEFINE_string("seeds", "0-15", "Seeds and ranges: 0-15 or 3,7,100-103.")
_PSI = flags.DEFINE_float("psi", 1.0, "Truncation: 1 is none, 0 the average image.")
_LABEL = flags.DEFINE_integer("label", None, "Class number, for a model with labels.")
_OUT = flags.DEFINE_string("out", None, "PNG to write all images to, as a grid.")
_OUTDIR = flags.DEFINE_string("outdir", None, "Folder to write seedNNNN.png files to.")
_INTERPOLATE = flags.DEFINE_string("interpolate", None, "PNG strip from each seed to the next.")
_FRAMES = flags.DEFINE_integer("frames", 8, "Frames from one seed to the next.", 1)
_TIMEOUT = flags.DEFINE_float("timeout_s", 60.0, "Deadline of each request, in seconds.")

# Images per request: enough to keep a server busy, little enough to meet the deadline.
_BATCH = 16


def main(argv: list[str]) -> None:
    """Write the files that the flags ask for."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    if not (_OUT.value or _OUTDIR.value or _INTERPOLATE.value):
        raise app.UsageError("nothing to write: give --out, --outdir or --interpolate")
    try:
        seeds = latents.parse_seeds(_SEEDS.value)
    except ValueError as error:
        raise app.UsageError(f"--{error}") from error
    with contextlib.closing(Client(_SERVER.value, _MODEL.value, timeout_s=_TIMEOUT.value)) as client:
        try:
            _write(client, seeds)
        except ServingError as error:
            raise SystemExit(str(error)) from error


def _write(client: Client, seeds: list[int]) -> None:
    label = _one_hot(client)
    z = latents.z_from_seeds(seeds, client.input_dim("z"))
    if _OUT.value or _OUTDIR.value:
        faces = _generate(client, z, label)
        if _OUT.value:
            _save(_OUT.value, images.grid(faces))
        if _OUTDIR.value:
            for seed, face in zip(seeds, faces, strict=True):
                _save(Path(_OUTDIR.value) / f"seed{seed:04d}.png", face)
    if _INTERPOLATE.value:
        path = _generate(client, _interpolated(z), label)
        _save(_INTERPOLATE.value, images.grid(path, columns=len(path)))


def _interpolated(z: np.ndarray) -> np.ndarray:
    steps = np.arange(_FRAMES.value) / _FRAMES.value
    frames = [latents.slerp(a, b, t) for a, b in itertools.pairwise(z) for t in steps]
    return np.stack([*frames, z[-1]])


def _generate(client: Client, z: np.ndarray, label: np.ndarray | None) -> np.ndarray:
    parts: Sequence[np.ndarray] = np.split(z, range(_BATCH, len(z), _BATCH))
    labels = [None if label is None else np.tile(label, (len(part), 1)) for part in parts]
    answers = [client.generate(part, psi=_PSI.value, label=c) for part, c in zip(parts, labels, strict=True)]
    return np.concatenate(answers)


def _one_hot(client: Client) -> np.ndarray | None:
    if _LABEL.value is None:
        return None
    dim = client.input_dim("label")
    if not 0 <= _LABEL.value < dim:
        known = f"from 0 to {dim - 1}" if dim else "left out: the model has no labels"
        raise app.UsageError(f"--label={_LABEL.value} must be {known}")
    return np.eye(dim, dtype=np.float32)[_LABEL.value]


def _save(path: str | Path, image: np.ndarray) -> None:
    images.save_png(path, image)
    print(path)


if __name__ == "__main__":
    app.run(main)
