"""Write a generator's parameters under the official PyTorch names, for those who move back.

python -m sg3tf.convert.to_npz --network=ffhq/G_ema.keras --out=ffhq.npz

sg3tf.convert.to_torch puts them into the official modules.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import numpy as np

import sg3tf
from sg3tf.convert.official_network import from_config
from sg3tf.convert.to_torch import OPTIONS
from sg3tf.convert.weights import to_arrays
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.generators import Generator
from sg3tf.utils.files import atomic_write


def save(model: Generator | Discriminator, path: str | Path) -> None:
    """Writes a model for fill_torch.

    Args:
        model: a Generator or a Discriminator.
        path: the file: {official parameter name: float32 array}, and as JSON the arguments with which the official
            constructor of stylegan3 makes such a network. Filters are left out, as it makes them itself.

    Raises:
        SnapshotError: there is no such official network.
        OSError: the file cannot be written.
    """
    entries: dict[str, Any] = {OPTIONS: np.array(json.dumps(from_config(model.config))), **to_arrays(model)}
    with atomic_write(Path(path)) as file:
        np.savez(file, **entries)


def main(argv: list[str]) -> None:
    """Write one generator and print the file's name."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    if not flags.FLAGS.network or not flags.FLAGS.out:
        raise app.UsageError("give --network (the generator) and --out (the .npz file to write)")
    try:
        save(sg3tf.load(flags.FLAGS.network), flags.FLAGS.out)
    except (ValueError, OSError) as error:
        raise SystemExit(f"not written: {error}") from error
    print(flags.FLAGS.out)


if __name__ == "__main__":  # where it is imported, other commands define flags
    flags.DEFINE_string("network", None, "Generator: a .keras file, a checkpoint or a run folder.")
    flags.DEFINE_string("out", None, "The .npz file to write.")
    app.run(main)
