"""Values that the explorer's TypeScript must reproduce, computed by sg3tf itself; and files in both directions."""

import io
import json
from pathlib import Path

import numpy as np

from sg3tf import latents
from sg3tf.cli.drawing_flags import style_range
from sg3tf.editing import directions
from sg3tf.generate import latents_file, trajectory

SEEDS = [0, 1, 5, 85, 12345, 2**31, 2**32 - 1]
NUM_WS, W_DIM = 5, 4
EMPTY_SHAPES = [[10**k, 0, 10**j] for k in range(8) for j in range(8)]  # headers of all lengths


def write(folder: Path) -> None:
    """Write reference.json, latents.npz and directions.npz."""
    rng = np.random.default_rng(0)
    states = {seed: np.random.RandomState(seed) for seed in SEEDS}
    a, b, c = rng.standard_normal([3, NUM_WS, W_DIM]).astype(np.float32)
    average = rng.standard_normal(W_DIM).astype(np.float32)
    keyframes = rng.standard_normal([4, NUM_WS, W_DIM]).astype(np.float32)
    moved = directions.Directions.of(
        ["pc0", "Länge"], rng.standard_normal([2, W_DIM]), rng.standard_normal([50, W_DIM]), [1, 3]
    )
    t = [0.0, 0.3, 1.5, 2.0, 2.9]
    paths = [
        {
            "curve": curve,
            "loop": loop,
            "count": count,
            "ws": numbers(trajectory.interpolate(keyframes[:count], t, curve, loop)),
        }
        for curve in ("cubic", "lerp")
        for loop in (False, True)
        for count in (2, 4)
    ]
    motions = [(0, 0, 0), (30, 0.1, -0.2), (-170.5, 0, 0.25), (90, -0.5, 0)]
    reference = {
        "normals": {seed: [hexadecimal(z) for z in state.standard_normal(1000)] for seed, state in states.items()},
        "uniforms": {seed: np.random.RandomState(seed).random_sample(2000).tolist() for seed in SEEDS},
        "a": numbers(a), "b": numbers(b), "c": numbers(c), "average": numbers(average),
        "truncated": [
            {"psi": psi, "cutoff": cutoff, "ws": numbers(latents.truncate(a[None], average, psi, cutoff))}
            for psi in (1.0, 0.7, -1.0, 2.0, 0.0) for cutoff in (None, 0, 2)
        ],
        "mixed": numbers(latents.mix(a[None], b[None], [0, 3])),
        "slerp": [{"t": step, "z": numbers(latents.slerp(a[0], b[0], step))} for step in (0, 0.25, 0.5, 1)],
        "transforms": [
            {"motion": motion, "matrix": numbers(latents.transform_matrix(np.radians(motion[0]), *motion[1:]))}
            for motion in motions
        ],
        "product": numbers(latents.transform_matrix(0.3, 0.1, 0.2) @ latents.transform_matrix(-1, 0.5, 0)),
        "factors": [numbers(latents.transform_matrix(0.3, 0.1, 0.2)), numbers(latents.transform_matrix(-1, 0.5, 0))],
        "keyframes": [numbers(each) for each in keyframes],
        "times": t,
        "paths": paths,
        "counts": [
            [k, f, loop, len(trajectory.times(k, f, loop))] for k in (1, 3) for f in (1, 30) for loop in (False, True)
        ],
        "moved": numbers(directions.apply_direction(a[None], moved, 1, [-2.5])),
        "layers": {text: style_range(text, 16) for text in ("coarse", "middle", "fine", "0-6,9", "coarse,12")},
        "headers": [[shape, npz_size(np.zeros(shape, np.float32))] for shape in EMPTY_SHAPES],
        "thirds": [[n, *(style_range(third, n) for third in ("coarse", "middle", "fine"))] for n in (3, 4, 8, 16, 17)],
    }  # fmt: skip
    (folder / "reference.json").write_text(json.dumps(reference))
    keep = latents_file.Latents(
        np.stack([a, b]),
        np.stack([latents.transform_matrix(0.3, 0.1, 0.2), np.eye(3, dtype=np.float32)]),
        np.array([5, 2**32 - 1]),
        np.float32([0.7, 1]),
    )
    latents_file.save(folder / "latents.npz", keep)
    directions.save(folder / "directions.npz", moved)
    np.savez_compressed(
        folder / "other.npz", f=np.asfortranarray(a.astype(">f8")), h=a[0].astype(np.float16), i=np.int64([[-3]])
    )


def npz_size(array: np.ndarray) -> int:
    """Bytes of an .npz file of the array, named a."""
    file = io.BytesIO()
    np.savez(file, a=array)
    return len(file.getvalue())


def numbers(array: np.ndarray) -> list[float]:
    """The array's numbers in one row, which JSON holds exactly."""
    return np.asarray(array, np.float64).ravel().tolist()


def hexadecimal(value: float) -> str:
    """The bits of a float64."""
    return np.float64(value).tobytes()[::-1].hex()
