"""Load a generator from a run folder, a checkpoint or a .keras file."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from sg3tf.models import hub
from sg3tf.models.configs import digest_fields
from sg3tf.models.generators import Generator
from sg3tf.models.presets import TRAINED_PRESETS, trained_file
from sg3tf.models.run_folder import CHECKPOINT_GENERATOR, CHECKPOINTS, snapshots, trained_nimg
from sg3tf.utils.files import atomic_path, atomic_write
from sg3tf.utils.label_scale import LabelScale

Model = TypeVar("Model", bound=keras.Model)

_OF_PYTORCH = (".pkl", ".pt", ".pth")


def load(path: str | os.PathLike[str]) -> Generator:
    """Load the generator stored at `path`.

    Args:
        path: name of a network that ships with sg3tf, such as "portraits-32"; a .keras file, or the folder of an
            unzipped one; a checkpoint folder; a run folder, for its newest snapshot or checkpoint, which a line on
            stderr names; or an address, `hf://USER/NAME@REVISION` or `https://HOST/FILE.keras#sha256=DIGEST`, which is
            downloaded once (docs/sharing.md).

    Raises:
        FileNotFoundError: no generator was found, or the address cannot be reached.
        ValueError: the file does not hold a generator.
    """
    path = hub.fetch(str(path)) if hub.is_address(path) else Path(path)
    return load_model(_chosen_file(path), Generator)


def resolve_network(network: str) -> str:
    """Return the .keras file of the generator at the path `network`; an address is returned unchanged.

    If the run is still training, a later call may find a newer generator. To look up anything about a loaded network,
    use the file that was loaded. If `network` is a folder, a line on stderr names the file.

    Raises:
        FileNotFoundError: no generator was found.
    """
    return network if hub.is_address(network) else str(_chosen_file(Path(network)))


def _chosen_file(path: Path) -> Path:
    file = generator_file(path)
    nimg = trained_nimg(file)
    if path.is_dir() and nimg is not None:
        print(f"{path}: generator after {nimg / 1000:g} kimg, {file.relative_to(path)}", file=sys.stderr)
    return file


def load_model(file: Path, kind: type[Model]) -> Model:
    """Load the model in a .keras file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be loaded, or is not a `kind`.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    if file.suffix in _OF_PYTORCH:
        name = "D" if kind.__name__ == "Discriminator" else "G_ema"
        raise ValueError(
            f"{file}: not a .keras file; convert it with sg3tf convert from-pickle --network={file} --names={name} "
            f"--outdir=FOLDER, and give FOLDER/{name}.keras"
        )
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises many types for files of other formats
        raise ValueError(f"{file}: cannot be loaded as a .keras model ({error})") from error
    if not isinstance(model, kind):
        raise ValueError(f"{file}: holds a {type(model).__name__}, not a {kind.__name__}")
    return model


def weights_digest(G: Any) -> str:
    """Digest of a generator's class, configuration and variables, "sha256:...", regardless of its storage format."""
    digest = hashlib.sha256(json.dumps([type(G).__name__, digest_fields(G.config)]).encode())
    for variable in G.variables:
        digest.update(np.ascontiguousarray(variable).tobytes())
    return f"sha256:{digest.hexdigest()}"


# --- Files ------------------------------------------------------------------------------------------------------------


def generator_file(path: Path) -> Path:
    """Return the .keras file of the generator at `path`; for a run folder, its newest snapshot or checkpoint.

    In a folder of converted networks, it is the average, G_ema.keras. The folder of an unzipped .keras file is returned
    unchanged. The name of a network that ships with sg3tf resolves to its file, unless a file of that name exists.

    Raises:
        FileNotFoundError: no generator was found.
    """
    if path.name in TRAINED_PRESETS and path.absolute().parent == Path.cwd() and not path.exists():
        return trained_file(path.name)
    if path.is_file() or hub.is_unzipped_keras(path):
        return path
    if (path / CHECKPOINT_GENERATOR).is_file():
        return path / CHECKPOINT_GENERATOR
    if (path / "G_ema.keras").is_file():
        return path / "G_ema.keras"
    found = {
        int(file.parent.name): file
        for file in path.glob(f"{CHECKPOINTS}/*/{CHECKPOINT_GENERATOR}")
        if file.parent.name.isdecimal()
    } | snapshots(path)
    if not found:
        problem = "holds no generator" if path.exists() else "no such file or folder"
        raise FileNotFoundError(
            f"{path}: {problem}; give a .keras file, a checkpoint folder with {CHECKPOINT_GENERATOR}, a run "
            f"folder with network-snapshot-*.keras or checkpoints, or one of {', '.join(TRAINED_PRESETS)}"
        )
    return found[max(found)]


def discriminator_beside(file: Path) -> Path:
    """Return the path, next to NAME.keras, for the discriminator that was trained against it.

    Examples:
        >>> discriminator_beside(Path("cats.keras")).name
        'cats-discriminator.keras'
    """
    return file.with_name(file.stem + hub.DISCRIMINATOR)


CLASSES = "classes.json"
LABEL_SCALE = "label_scale.json"


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the classes of the generator at `path`.

    They are in NAME-classes.json next to NAME.keras, or in classes.json next to it or in its run folder.

    Returns:
        Names in the order of the labels; () if none are found.
    """
    for file in _files_of(path, CLASSES):
        try:
            return tuple(map(str, json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return ()


def label_scale(path: Path) -> LabelScale | None:
    """Return the label scale of the generator at `path`, if its data set standardized the labels.

    It is in NAME-label_scale.json or label_scale.json, in the same places as class names (see `class_names`).
    """
    for file in _files_of(path, LABEL_SCALE):
        try:
            return LabelScale.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return None


def write_label_files(folder: Path, classes: Sequence[str], scale: LabelScale | None, prefix: str = "") -> None:
    """Write what the labels of a generator in `folder` mean to classes.json and label_scale.json.

    Args:
        folder: the generator's.
        classes: names of the classes; (): they have none, and a file of another network is removed.
        scale: of labels that were standardized; None: they were not, and a file of another network is removed.
        prefix: beginning of the file names; "NAME-" if the files are for NAME.keras alone.
    """
    for name, content in ((CLASSES, list(classes)), (LABEL_SCALE, scale and scale.to_json())):
        file = folder / f"{prefix}{name}"
        if content:
            with atomic_write(file) as out:
                out.write(f"{json.dumps(content, indent=2)}\n".encode())
        else:
            file.unlink(missing_ok=True)


def save_with_labels(G: Generator, file: Path, classes: Sequence[str], scale: LabelScale | None) -> None:
    """Write NAME.keras atomically, after NAME-classes.json and NAME-label_scale.json.

    In this order, because a label of 30 would be 30 standard deviations in a network without its label scale.

    Args:
        G: the generator.
        file: the .keras file; its folder must exist.
        classes, scale: see `write_label_files`.
    """
    write_label_files(file.parent, classes, scale, prefix=f"{file.stem}-")
    with atomic_path(file) as temporary:
        G.save(temporary)


def _files_of(path: Path, name: str) -> list[Path]:
    """Candidate paths of the file `name` for the generator at `path`, closest first; they need not exist."""
    file = generator_file(path.absolute())
    # A snapshot is in its run folder, a checkpoint's generator two levels below. In the hub's cache, files are links to
    # blobs without readable names.
    beside = [file] if file.is_dir() else []
    folders = (*beside, *file.parents[:3], *file.resolve().parents[:3])
    return [file.with_name(f"{file.stem}-{name}"), *(folder / name for folder in folders)]
