"""Write a StyleGAN2 as the widespread PyTorch state dict with g_ema, d and latent_avg, without PyTorch.

sg3tf convert to-state-dict --network=faces/G_ema.keras --discriminator=faces/D.keras --out=faces.pt
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from sg3tf.convert import torch_save
from sg3tf.convert.state_dict import KEYS, from_arrays
from sg3tf.utils import flags as shared
from sg3tf.utils.files import atomic_write

if TYPE_CHECKING:
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.generators import Generator


def save(generator: Generator, path: str | Path, discriminator: Discriminator | None = None) -> None:
    """Write a generator, its average w and, if given, a discriminator, atomically.

    Args:
        generator: a StyleGAN2Generator, for the key "g_ema".
        path: the file to write.
        discriminator: discriminator for the key "d".

    Raises:
        UnsupportedNetworkError: the layout cannot represent the network.
        OSError: the file cannot be written.
    """
    from sg3tf.convert.weights import to_arrays  # imported here, so that --help does not load TensorFlow

    arrays = to_arrays(generator)
    content: dict[str, Any] = {KEYS["G_ema"]: from_arrays(generator.config, arrays)}
    if discriminator is not None:
        content[KEYS["D"]] = from_arrays(discriminator.config, to_arrays(discriminator))
    content["latent_avg"] = arrays["mapping.w_avg"]
    with atomic_write(Path(path)) as file:
        torch_save.write(file, content)


# --- Command line -----------------------------------------------------------------------------------------------------


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    shared.define_network(options)
    flags.DEFINE_string("discriminator", None, "The .keras file of a discriminator to include.", flag_values=options)
    shared.define_out(options, "The .pt file to write.")


def main(options: flags.FlagValues) -> None:
    """Write one file, and print its name."""
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.loading import load, load_model

    file = options.discriminator
    save(load(options.network), options.out, load_model(Path(file), Discriminator) if file else None)
    print(options.out)
