"""Command line of the client: seeds in, PNG and MP4 files out.

python -m serving.client --seeds=0-15 --psi=0.7 --out=grid.png
python -m serving.client --seeds=3,7,3 --interpolate=walk.mp4
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import app, flags

from serving.client.connection import Client, ServingError
from sg3tf import images, latents, video

_SERVER = flags.DEFINE_string("server", "127.0.0.1:8500", "HOST:PORT of the gRPC port.")
_MODEL = flags.DEFINE_string("model", "sg3", "Name of the model on the server.")
_SSL_CA = flags.DEFINE_string("ssl_ca_file", None, "PEM file of the certificates to trust; turns TLS on.")
_API_KEY = flags.DEFINE_string("api_key_file", None, "File of the key to send with every request.")
_TIMEOUT = flags.DEFINE_float("timeout_s", 60.0, "Deadline of each request with its retries, in seconds.", 0.001)

_SEEDS = flags.DEFINE_string("seeds", "0-15", "Seeds and ranges: 0-15 or 3,7,100-103.")
_PSI = flags.DEFINE_float("psi", 1.0, "Truncation: 1 is none, 0 the average image.")
_LABEL = flags.DEFINE_integer("label", None, "Class number, for a model with labels.")
_ANGLE = flags.DEFINE_float("angle", 0.0, "Rotates the images clockwise, in degrees.")
_SHIFT = flags.DEFINE_list("shift", ["0", "0"], "Moves the images right and down, in image widths: X,Y.")
_MIX = flags.DEFINE_integer("mix", None, "Seed that all images take the styles of --layers from.", 0, 2**32 - 1)
_LAYERS = flags.DEFINE_string("layers", None, "Layers and ranges for --mix, coarse to fine from 0: 8-15.")

_OUT = flags.DEFINE_string("out", None, "PNG to write all images to, as a grid.")
_OUTDIR = flags.DEFINE_string("outdir", None, "Folder to write seedNNNN.png files to.")
_INTERPOLATE = flags.DEFINE_string("interpolate", None, "MP4, or PNG strip, from each seed to the next.")
_FRAMES = flags.DEFINE_integer("frames", None, "From one seed to the next; default: 60 in MP4, 8 in PNG.", 1)
_FPS = flags.DEFINE_integer("fps", 30, "Frames per second of the MP4.", 1)

# Images per request: enough to keep a server busy, little enough to meet the deadline.
_BATCH = 16

# Latents [N, ...] to images, or to other latents.
Draw = Callable[[np.ndarray], np.ndarray]


def main(argv: list[str]) -> None:
    """Write the files that the flags ask for."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    seeds = _checked_seeds()
    try:
        client = Client(
            _SERVER.value,
            _MODEL.value,
            timeout_s=_TIMEOUT.value,
            ssl_ca_file=_SSL_CA.value,
            api_key_file=_API_KEY.value,
        )
        with contextlib.closing(client):
            _write(client, seeds)
    except (ServingError, OSError, ValueError, ModuleNotFoundError) as error:
        # Flags that do not fit the model, files that cannot be read or written, and the server's own refusals.
        raise SystemExit(f"serving.client: {error}") from error


def _checked_seeds() -> list[int]:
    """The seeds; refuses flags that contradict each other, before anything is asked of the server."""
    if not (_OUT.value or _OUTDIR.value or _INTERPOLATE.value):
        raise app.UsageError("nothing to write: give --out, --outdir or --interpolate")
    if (_MIX.value is None) != (_LAYERS.value is None):
        raise app.UsageError("give --mix and --layers together: whose styles, and which of them")
    try:
        seeds = latents.parse_seeds(_SEEDS.value)
    except ValueError as error:
        raise app.UsageError(f"--{error}") from error
    if _INTERPOLATE.value:
        if Path(_INTERPOLATE.value).suffix not in (".png", ".mp4"):
            raise app.UsageError(f"--interpolate={_INTERPOLATE.value} must end in .png or .mp4")
        if len(seeds) < 2:
            raise app.UsageError(f"--seeds={_SEEDS.value}: give two or more to go from one to the next")
    return seeds


def _write(client: Client, seeds: list[int]) -> None:
    draw = _drawing(client)
    z = latents.z_from_seeds(seeds, client.input_dim("z"))
    if _OUT.value or _OUTDIR.value:
        faces = np.stack([*_in_batches(draw, z)])
        if _OUT.value:
            _save(_OUT.value, images.grid(faces))
        if _OUTDIR.value:
            for seed, face in zip(seeds, faces, strict=True):
                _save(Path(_OUTDIR.value) / f"seed{seed:04d}.png", face)
    if _INTERPOLATE.value:
        _write_interpolation(draw, z, Path(_INTERPOLATE.value))


def _write_interpolation(draw: Draw, z: np.ndarray, path: Path) -> None:
    is_video = path.suffix == ".mp4"
    count = _FRAMES.value or (60 if is_video else 8)
    steps = np.arange(count) / count
    points = [latents.slerp(a, b, t) for a, b in itertools.pairwise(z) for t in steps]
    frames = _in_batches(draw, np.stack([*points, z[-1]]))
    if is_video:
        video.save(path, frames, _FPS.value)
        print(path)
    else:
        _save(path, images.grid([*frames], columns=len(points) + 1))


def _in_batches(draw: Draw, z: np.ndarray) -> Iterator[np.ndarray]:
    """Images one by one, asked for a batch at a time."""
    for part in np.split(z, range(_BATCH, len(z), _BATCH)):
        yield from draw(part)


def _drawing(client: Client) -> Draw:
    """From latents to images, in one request where nothing is mixed or moved."""
    psi, label, transform = _PSI.value, _one_hot(client), _transform()
    if transform is None and _MIX.value is None:
        return lambda z: client.generate(z, psi=psi, label=label)
    mix: Draw = _mixing(client, label) if _MIX.value is not None else lambda ws: ws
    return lambda z: client.synthesize(mix(client.map(z, psi=psi, label=label)), transform)


def _mixing(client: Client, label: np.ndarray | None) -> Draw:
    layers, other = _layers(), client.map(seeds=[_MIX.value], psi=_PSI.value, label=label)
    return lambda ws: latents.mix(ws, np.broadcast_to(other, ws.shape), layers)


def _layers() -> list[int]:
    try:
        return latents.parse_seeds(_LAYERS.value)
    except ValueError as error:
        raise app.UsageError(f"--layers={_LAYERS.value}: give numbers and ranges, like 0-3,7") from error


def _transform() -> np.ndarray | None:
    try:
        right, down = (float(value) for value in _SHIFT.value)
    except ValueError as error:
        raise app.UsageError(f"--shift={','.join(_SHIFT.value)}: give two numbers, X,Y") from error
    if not (_ANGLE.value or right or down):
        return None
    return latents.transform_matrix(np.radians(_ANGLE.value), right, down)


def _one_hot(client: Client) -> np.ndarray | None:
    dim = client.input_dim("label")
    if _LABEL.value is None and not dim:
        return None
    if _LABEL.value is None or not 0 <= _LABEL.value < dim:
        known = f"from 0 to {dim - 1}" if dim else "left out: the model has no labels"
        raise ValueError(f"--label={_LABEL.value}: must be {known}")
    return np.eye(dim, dtype=np.float32)[_LABEL.value]


def _save(path: str | Path, image: np.ndarray) -> None:
    images.save_png(path, image)
    print(path)


if __name__ == "__main__":
    app.run(main)
