"""Latents of images, and the .npz file that passes them between commands.

A file written by --save_latents has style vectors, which belong to one network. The file next to a training run's image
grid, such as fakes000200.npz, instead has the z of each tile, row by row from the top left, for any network of the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.network import Network
from sg3tf.utils.arrays import read_npz
from sg3tf.utils.files import atomic_write


@dataclasses.dataclass(frozen=True)
class Latents:
    """Latents of N images. All fields except the style vectors may be None: unknown or not used.

    Attributes:
        ws: float32 [N, num_ws, w_dim], already truncated.
        transform: float32 [N, 3, 3], inverse transforms of the images, in units of the image width.
        seeds: int64 [N].
        psi: float32 [N], truncation of all style vectors toward the average of all classes; 1 for none.
        label: float32 [N, label_dim].
        tiles: int64 [N], positions in the file they were read from, for names; not saved.
        trunc: float32 [N], values of --trunc if `psi` is None, for names; not saved.

    Examples:
        >>> latents = Latents(np.zeros([3, 16, 512], np.float32), seeds=np.array([5, 7, 9]))
        >>> latents[1:].names()
        ['seed0007', 'seed0009']
    """

    ws: NDArray[np.float32]
    transform: NDArray[np.float32] | None = None
    seeds: NDArray[np.int64] | None = None
    psi: NDArray[np.float32] | None = None
    label: NDArray[np.float32] | None = None
    tiles: NDArray[np.int64] | None = None
    trunc: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ws)

    def __getitem__(self, rows: Any) -> Latents:
        """Return the latents of a slice, a list of positions, or a mask."""
        return Latents(**{name: array[rows] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that are not None, by name."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}

    def digest(self) -> str:
        """Return the digest of all arrays ("sha256:...")."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            digest.update(f"{name} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return f"sha256:{digest.hexdigest()}"

    def names(self) -> list[str]:
        """Return a distinct name for each image: seed0003, or latent0003 without seeds.

        A latent's number is that of its tile or, without tiles, its position. If images differ in their labels, -class2
        follows (-label2 for the third distinct vector); if they differ in truncation, -trunc0.70. If names are still
        not distinct, as for a repeated seed, -1, -2, ... follow.
        """
        positions = range(len(self)) if self.tiles is None else self.tiles
        first = positions if self.seeds is None else self.seeds
        names = [f"{'latent' if self.seeds is None else 'seed'}{number:04d}" for number in first]
        psi = self.trunc if self.psi is None else self.psi
        for suffixes in (_label_suffixes(self.label), _psi_suffixes(psi)):
            names = [name + suffix for name, suffix in zip(names, suffixes or [""] * len(names), strict=True)]
        taken: Counter[str] = Counter()
        for position, name in enumerate(names):
            names[position] += f"-{taken[name]}" if taken[name] else ""
            taken[name] += 1
        return names


def _label_suffixes(label: NDArray[np.float32] | None) -> list[str]:
    """Return suffixes -class2 or -label2 if labels differ, otherwise []."""
    if label is None or not label.size or len(distinct := np.unique(label, axis=0)) < 2:
        return []
    if ((distinct == 0) | (distinct == 1)).all() and (distinct.sum(1) == 1).all():
        return [f"-class{number}" for number in label.argmax(1)]
    vectors = list(dict.fromkeys(map(tuple, label.tolist())))
    return [f"-label{vectors.index(tuple(row))}" for row in label.tolist()]


def _psi_suffixes(psi: NDArray[np.float32] | None) -> list[str]:
    """Return suffixes -trunc0.70 if truncations differ, with as many digits as needed, otherwise []."""
    if psi is None or len(distinct := np.unique(psi)) < 2:
        return []
    digits = next((n for n in (2, 3, 4, 5, 6) if len({f"{value:.{n}f}" for value in distinct}) == len(distinct)), 9)
    return [f"-trunc{value:.{digits}f}" for value in psi]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Generator inputs for the N tiles of a grid.

    Attributes:
        z: float32 [N, z_dim].
        seeds: int64 [N], from which sg3tf.latents.z_from_seeds draws z.
        label: float32 [N, label_dim]; label_dim is 0 without labels.

    Examples:
        >>> Tiles(np.zeros([2, 512], np.float32), np.arange(2), np.zeros([2, 0], np.float32)).seeds
        array([0, 1])
    """

    z: NDArray[np.float32]
    seeds: NDArray[np.int64]
    label: NDArray[np.float32]


def save_tiles(path: str | os.PathLike[str], tiles: Tiles) -> None:
    """Write an .npz file with the fields of `tiles` under their names, atomically.

    Its `noise` is "const": StyleGAN2's layers add their stored noise, in grids as in `sg3tf generate`.
    """
    with atomic_write(Path(path)) as file:
        np.savez(file, **dataclasses.asdict(tiles), noise="const")


def save(path: str | os.PathLike[str], latents: Latents) -> None:
    """Write an .npz file with the arrays of `latents` under their names, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez(file, **dataclasses.replace(latents, tiles=None, trunc=None).arrays())  # type: ignore[arg-type]


def load(path: str | os.PathLike[str], network: Network, flag: str = "latents") -> Latents:
    """Read a file written by `save` or `save_tiles`; only `ws` or `z` is required.

    Other StyleGAN programs save projections with `ws` named `w`, which is accepted, too.

    Args:
        path: the file.
        network: the network the latents are for.
        flag: name of the flag that holds the path, for messages.

    Raises:
        OSError: no such file.
        ValueError: wrong kind of file, or latents of another network.
    """
    names = ["z", *(field.name for field in dataclasses.fields(Latents) if field.name not in ("tiles", "trunc"))]
    try:
        found = read_npz(Path(path))
    except ValueError as error:
        raise ValueError(f"{flag}={path}: not an .npz file of arrays ({error})") from error
    arrays: dict[str, Any] = {name: found[name] for name in names if name in found}
    if not {"ws", "z"} & arrays.keys() and "w" in found:
        arrays["ws"] = found["w"]
    vectors = arrays.get("ws", arrays.get("z"))
    if vectors is None:
        raise ValueError(
            f"{flag}={path}: has no array ws or z; give a file of --save_latents, or one beside a grid of a run"
        )
    count = len(vectors) if vectors.ndim else 0
    shapes = {
        "z": (count, network.z_dim),
        "ws": (count, network.num_ws, network.w_dim),
        "transform": (count, 3, 3),
        "seeds": (count,),
        "psi": (count,),
        "label": (count, network.label_dim),
    }
    for name, array in arrays.items():
        _check_array(f"{flag}={path}: {name}", array, shapes[name])
    types = {name: np.int64 if name == "seeds" else np.float32 for name in arrays}
    arrays = {name: array.astype(types[name]) for name, array in arrays.items()}
    z = arrays.pop("z", None)
    if "ws" not in arrays:
        arrays["ws"] = network.map(z, label=arrays.get("label") if network.label_dim else None)
        arrays["psi"] = np.ones(count, np.float32)
    return Latents(**arrays)


def _check_array(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape or not shape[0]:
        expected = "[N, " + ", ".join(map(str, shape[1:])) + "]" if shape[1:] else f"[{shape[0]}]"
        raise ValueError(f"{what} of shape {array.shape}: this network takes {expected}")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(f"{what} of type {array.dtype}: give finite numbers")
