"""python -m sg3tf.cli.generate images: a PNG file for each point.

python -m sg3tf.cli.generate images --network=runs/00000-... --seeds=0-63,85 --trunc=0.7 --outdir=out
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

import sg3tf
from sg3tf.generate import shared_flags
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.images import save_png
from sg3tf.utils.progress import with_progress


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_flags(seeds="0-15")
    flags.DEFINE_string("outdir", None, "Folder for seed0000.png and so on.", required=True)


def main(options: Any) -> None:
    """Runs the command with its flags."""
    network = shared_flags.network(options)
    latents = shared_flags.latents_from_flags(network, options)
    images(network, latents, Path(options.outdir), shared_flags.flags_as_metadata(options))
    shared_flags.save_latents(options, latents)
    print(options.outdir)


def images(network: Network, latents: Latents, outdir: Path, described: dict[str, str] | None = None) -> None:
    """Writes a PNG file for each point, under its name, with what it was made of as metadata.

    Args:
        network: what draws.
        latents: the points.
        outdir: folder of the files, which is made where it is missing.
        described: more metadata.
    """
    drawn = with_progress(network.images(latents.ws, latents.transform), len(latents))
    for number, (name, image) in enumerate(zip(latents.names(), drawn, strict=True)):
        save_png(outdir / f"{name}.png", image, {**(described or {}), **_metadata(network, latents, number)})


def _metadata(network: Network, latents: Latents, number: int) -> dict[str, str]:
    of_one = {"seeds": "seed", "psi": "trunc", "label": "label", "transform": "transform"}
    arrays = latents.arrays()
    values = {text: str(arrays[name][number].tolist()) for name, text in of_one.items() if name in arrays}
    return {"Software": f"sg3tf {sg3tf.__version__}", "network": network.name, **values}
