"""Turn an official network pickle into .keras files, without PyTorch and without running what the pickle holds.

python -m sg3tf.interop.import_pickle --network=stylegan3-t-ffhq-1024x1024.pkl --out=ffhq --licence="see its README"
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import keras
import numpy as np
import tensorflow as tf

import sg3tf
from sg3tf.atomic import whole_folder
from sg3tf.config import ConfigError, DiscriminatorConfig
from sg3tf.discriminator import Discriminator
from sg3tf.generator import Generator
from sg3tf.interop import official_pickle, parity
from sg3tf.interop.nvidia import InteropError, load_arrays
from sg3tf.interop.plain_pickle import PickleError
from sg3tf.interop.snapshot import NETWORKS, SnapshotError

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
    with whole_folder(Path(out)) as folder:
        described = _describe(path, licence)
        for name in names:
            described["networks"][name] = _write(path, name, folder)
            gc.collect()  # Keras' models are in cycles of references
        if compare:
            described["parity"] = parity.report(path, sg3tf.load(folder / "G_ema.keras"))
        (folder / "metadata.json").write_text(json.dumps(described, indent=2) + "\n")
    return Path(out)


def _write(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """One network, and what is to be said of it; only one at a time is in memory."""
    network = official_pickle.read(path, name)
    config = network.config
    model = Discriminator(config) if isinstance(config, DiscriminatorConfig) else Generator.of(config)
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "source": {"file": path.name, "sha256": digest},
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
    except (PickleError, SnapshotError, ConfigError, InteropError, parity.ParityError, OSError) as error:
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
