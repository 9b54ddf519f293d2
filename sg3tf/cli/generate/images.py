"""Write one PNG file per seed.

sg3tf generate images --network=runs/00000-... --seeds=0-63,85 --trunc=0.7 --outdir=out
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from sg3tf.cli import drawing_flags
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.images import save_png
from sg3tf.utils import flags as shared
from sg3tf.utils.progress import with_progress
from sg3tf.version import __version__


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_latents(options, seeds="0-15")
    drawing_flags.define_noise(options)
    shared.define_outdir(options, "Folder for seed0000.png and so on.")


def main(options: FlagValues) -> None:
    """Run the command."""
    network = drawing_flags.network_from_flags(options)
    latents = drawing_flags.latents_from_flags(network, options)
    drawing_flags.prepare_outputs(options)
    save_images(network, latents, Path(options.outdir), drawing_flags.flags_as_metadata(options))
    drawing_flags.save_latents(options, latents)
    print(options.outdir)


def save_images(network: Network, latents: Latents, outdir: Path, metadata: dict[str, str]) -> None:
    """Write one PNG file per latent, under its name, with the latent's origin as metadata.

    Args:
        network: the generator.
        latents: the latents.
        outdir: folder for the files; created if it does not exist.
        metadata: additional metadata for all files.
    """
    drawn = with_progress(network.images(latents.ws, latents.transform), len(latents))
    for number, (name, image) in enumerate(zip(latents.names(), drawn, strict=True)):
        text = {**metadata, **_metadata(network, latents, number)}
        save_png(outdir / f"{name}.png", image, text)


def _metadata(network: Network, latents: Latents, number: int) -> dict[str, Any]:
    keys = {"seeds": "seed", "psi": "psi", "label": "label", "transform": "transform"}
    arrays = latents.arrays()
    values = {key: str(arrays[name][number].tolist()) for name, key in keys.items() if name in arrays}
    return {"Software": f"sg3tf {__version__}", "network": network.source, **values}
