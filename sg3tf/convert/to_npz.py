"""Write a generator's parameters under their official PyTorch names; sg3tf.convert.to_torch loads them in PyTorch.

sg3tf convert to-npz --network=ffhq/G_ema.keras --out=ffhq.npz
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from sg3tf.convert.official_network import from_config
from sg3tf.convert.to_torch import OPTIONS
from sg3tf.utils import flags as shared
from sg3tf.utils.files import atomic_write

if TYPE_CHECKING:
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.generators import Generator


def save(model: Generator | Discriminator, path: str | Path) -> None:
    """Write the parameters of a model to an .npz file for `sg3tf.convert.to_torch`, atomically.

    Args:
        model: a generator or a discriminator.
        path: the file to write: {official parameter name: float32 array}, and as JSON the arguments for stylegan3's
            official constructor. Filters are left out, because it computes them itself.

    Raises:
        UnsupportedNetworkError: the official code does not support the network.
        OSError: the file cannot be written.
    """
    from sg3tf.convert.weights import to_arrays  # imported here, so that --help does not load TensorFlow

    entries: dict[str, Any] = {OPTIONS: np.array(json.dumps(from_config(model.config))), **to_arrays(model)}
    with atomic_write(Path(path)) as file:
        np.savez(file, **entries)


# --- Command line -----------------------------------------------------------------------------------------------------


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    shared.define_network(options)
    shared.define_out(options, "The .npz file to write.")


def main(options: flags.FlagValues) -> None:
    """Write one generator, and print the file name."""
    from sg3tf.models.loading import load

    save(load(options.network), options.out)
    print(options.out)
