"""Create the small networks of docs/spectra.md: random weights with matching statistics, noise strength and contrast.

python examples/spectra_networks.py --outdir=networks
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg3tf.utils import startup_notices

startup_notices.hide()

import keras
from absl import app, flags

import sg3tf
from sg3tf import latents

_OUTDIR = flags.DEFINE_string(
    "outdir", "networks", "Folder for random-t.keras, random-r.keras and random-stylegan2.keras."
)

_NUM_LATENTS = 32  # to measure running magnitudes
_NOISE_STRENGTH = 0.1  # of StyleGAN2; training starts at 0
_CONTRAST = 0.25  # of StyleGAN2, like the others' output_scale
_OPTIONS: dict[str, dict[str, Any]] = {  # with a decay of 0, one update replaces the magnitudes
    "stylegan3-t": {"channel_base": 4096, "channel_max": 64, "magnitude_ema_beta": 0.0},
    "stylegan3-r": {"channel_base": 2048, "channel_max": 32, "magnitude_ema_beta": 0.0},
    "stylegan2": {"channel_base": 4096, "channel_max": 64},
}


def main(argv: list[str]) -> None:
    """Save one network of each kind."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    outdir = Path(_OUTDIR.value)
    outdir.mkdir(parents=True, exist_ok=True)
    for preset, options in _OPTIONS.items():
        keras.utils.set_random_seed(0)
        G = sg3tf.Generator.from_preset(preset, resolution=64, **options)
        if preset == "stylegan2":
            _set_noise_and_contrast(G)
        else:
            G(latents.z_from_seeds(range(_NUM_LATENTS), G.config.z_dim), update_emas=True)
        path = outdir / f"random-{preset.removeprefix('stylegan3-')}.keras"
        G.save(path)
        print(path)


def _set_noise_and_contrast(G: sg3tf.StyleGAN2Generator) -> None:
    for conv in G.convs:
        conv.noise_strength.assign(_NOISE_STRENGTH)
    for torgb in G.torgbs:
        torgb.kernel.assign(_CONTRAST * torgb.kernel)


if __name__ == "__main__":
    app.run(main)
