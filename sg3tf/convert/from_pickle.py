"""An imported generator beside the official code's, where that and PyTorch happen to be there."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import sg3tf
from sg3tf.convert import nvidia_pickle
from sg3tf.convert.official_network import NETWORKS, UnsupportedNetworkError
from sg3tf.convert.safe_pickle import PickleError
from sg3tf.convert.weights import InteropError, load_arrays
from sg3tf.latents import z_from_seeds
from sg3tf.models.configs import ConfigError, DiscriminatorConfig
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.generators import Generator, build_generator
from sg3tf.utils.files import atomic_directory, digest_file

_SEEDS = (0, 1, 2, 3)


class ParityError(ValueError):
    """Nothing to compare with."""


def report(path: Path, generator: Generator) -> dict[str, Any]:
    """How far the images of both are apart; runs code that the pickle holds.

    Args:
        path: the official pickle, which the official module `legacy` loads.
        generator: what was made of it.

    Returns:
        Seeds, and of the images, which are nominally in [-1, 1], the largest difference and the mean square's root.

    Raises:
        ParityError: PyTorch or the official code cannot be imported.
    """
    try:
        torch, legacy = importlib.import_module("torch"), importlib.import_module("legacy")
    except ImportError as error:
        raise ParityError(f"no parity report: {error}; put PyTorch and the official code on PYTHONPATH") from error
    with path.open("rb") as file:
        official = legacy.load_network_pkl(file)["G_ema"].eval().float()
    config = generator.config
    z = z_from_seeds(_SEEDS, config.z_dim)
    label = (
        np.eye(config.label_dim, dtype=np.float32)[np.arange(len(z)) % config.label_dim] if config.label_dim else None
    )
    ours = generator.predict(z if label is None else {"z": z, "label": label}, verbose=0)
    with torch.no_grad():
        classes = None if label is None else torch.from_numpy(label)
        theirs = official(torch.from_numpy(z), classes, noise_mode="const", force_fp32=True).numpy()
    difference = np.float64(ours) - np.transpose(theirs, (0, 2, 3, 1))
    return {
        "seeds": _SEEDS,
        "largest_difference": float(np.abs(difference).max()),
        "root_mean_square": float(np.sqrt(np.mean(difference**2))),
        "torch": torch.__version__,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Turn an official network pickle into .keras files, without PyTorch and without running what the pickle holds.
#
# python -m sg3tf.convert.from_pickle --network=stylegan3-t-ffhq-1024x1024.pkl --out=ffhq --licence="see its README"
# ---------------------------------------------------------------------------------------------------------------------

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show


NO_LICENCE = "unspecified; see where the file came from"


def import_pickle(
    path: str | Path,
    out: str | Path,
    names: Sequence[str] = ("G_ema",),
    licence: str = NO_LICENCE,
    compare: bool = False,
) -> Path:
    """Writes the networks of an official pickle as .keras files, with metadata.json.

    Args:
        path: the pickle, as of official_pickle.read.
        out: the folder to write; it appears whole or not at all.
        names: which of G, D and G_ema.
        licence: of the weights.
        compare: with the official code, which then runs code of the file.

    Returns:
        The folder.

    Raises:
        PickleError, SnapshotError, ConfigError, OSError: as official_pickle.read.
        InteropError: arrays that do not fit the network that the options describe.
        FileExistsError: `out` exists already.
    """
    path = Path(path)
    with atomic_directory(Path(out)) as folder:
        described = _describe(path, licence)
        for name in names:
            described["networks"][name] = _write(path, name, folder)
            gc.collect()  # Keras' models are in cycles of references
        if compare:
            described["parity"] = report(path, sg3tf.load(folder / "G_ema.keras"))
        (folder / "metadata.json").write_text(json.dumps(described, indent=2) + "\n")
    return Path(out)


def _write(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """One network, and what is to be said of it; only one at a time is in memory."""
    network = nvidia_pickle.read(path, name)
    config = network.config
    model = Discriminator(config) if isinstance(config, DiscriminatorConfig) else build_generator(config)
    load_arrays(model, network.arrays)
    model.save(folder / f"{name}.keras")
    return {
        "origin": network.origin,
        "class_name": network.class_name,
        "options": network.options,
        "training_set_options": network.training_set_options,
        "config": {"type": type(config).__name__, **dataclasses.asdict(config)},
    }


def _describe(path: Path, licence: str) -> dict[str, Any]:
    return {
        "source": {"file": path.name, "sha256": digest_file(path)},
        "licence": licence,
        "networks": {},
        "versions": {
            "sg3tf": sg3tf.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def main(argv: list[str]) -> None:
    """Import one pickle and print the folder."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    given = flags.FLAGS
    if not given.network or not given.out:
        raise app.UsageError("give --network (the pickle) and --out (the folder to write)")
    if not given.names or set(given.names) - set(NETWORKS):
        raise app.UsageError(f"--names={','.join(given.names)}: give some of {', '.join(NETWORKS)}")
    if given.parity and "G_ema" not in given.names:
        raise app.UsageError("--parity compares G_ema: give it among --names")
    try:
        print(import_pickle(given.network, given.out, given.names, given.licence, given.parity))
    except (PickleError, UnsupportedNetworkError, ConfigError, InteropError, ParityError, OSError) as error:
        raise SystemExit(f"not imported: {error}") from error


if __name__ == "__main__":  # where it is imported, other commands define flags
    flags.DEFINE_string("network", None, "Pickle of stylegan3, stylegan2-ada-pytorch or stylegan2-ada.")
    flags.DEFINE_string("out", None, "Folder to write, which must not exist: NAME.keras and metadata.json.")
    flags.DEFINE_list("names", ["G_ema"], f"Networks to take, of {', '.join(NETWORKS)}.")
    flags.DEFINE_string("licence", NO_LICENCE, "Of the weights, for the metadata.")
    flags.DEFINE_bool(
        "parity",
        False,
        "Compare G_ema's images with those of the official code, which must be importable, and PyTorch. "
        "It runs code that the pickle holds: only for a file that you trust.",
    )
    app.run(main)
