"""Equivariance of the ablations from StyleGAN2 (config A) to StyleGAN3 (T and R), with random weights.

python examples/ablations.py --out=ablations

writes ablations.json and ablations.png, which docs/ablations.md discusses. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sg3tf.utils import startup_notices
from sg3tf.utils.json_text import to_json

startup_notices.hide()

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from absl import app, flags

import sg3tf
from sg3tf import latents
from sg3tf.metrics.equivariance import measure_equivariance
from sg3tf.metrics.registry import METRICS
from sg3tf.metrics.samples import Samples

#: FFHQ-U at 256 pixels: FID, EQ-T, EQ-R of trained networks (arXiv 2106.12423, figure 3).
PUBLISHED = {
    "a": (5.14, None, None),
    "b": (4.79, 16.23, 10.81),
    "c": (4.54, 15.81, 10.84),
    "d": (5.21, 19.47, 10.41),
    "e": (6.02, 24.62, 10.97),
    "f": (6.35, 30.60, 10.81),
    "g": (4.78, 43.90, 10.84),
    "h": (4.64, 45.20, 10.61),
    "t": (4.62, 63.01, 13.12),
    "r": (4.50, 66.65, 40.48),
}
MEASURED = {"EQ-T": "eqt50k_int", "EQ-T_frac": "eqt50k_frac", "EQ-R": "eqr50k"}
CONTRAST = 0.5  # all values are scaled to this standard deviation within images, about that of photographs
LATENTS = 32  # number of latents used to measure running magnitudes and contrast
NOISE_STRENGTH = 0.1  # for generators with noise; training starts at 0
BATCH = 16

Row = dict[str, Any]

_OUT = flags.DEFINE_string("out", "ablations", "path of the .json and .png files, without the suffix")
_CONFIGS = flags.DEFINE_list("configs", list(PUBLISHED), "configurations to measure: a to h, t and r")
_RESOLUTIONS = flags.DEFINE_list("resolutions", ["64", "128"], "resolutions of the generated images")
_NETWORKS = flags.DEFINE_integer("networks", 6, "networks of each configuration, with different seeds")
_SAMPLES = flags.DEFINE_integer("samples", 32, "latents per network, with two images each")
_CHANNEL_BASE = flags.DEFINE_integer(
    "channel_base", 4096, "scale of the channels; config R is given half, because its preset doubles it"
)
_CHANNEL_MAX = flags.DEFINE_integer(
    "channel_max", 64, "most channels of a layer; config R is given half, because its preset doubles it"
)


def main(argv: list[str]) -> None:
    """Measure, print and plot."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns about retracing for every network
    tf.config.experimental.enable_tensor_float_32_execution(False)  # differences are small
    rows: list[Row] = []
    for row in _rows():
        rows.append(row)
        print(to_json(row), flush=True)
        Path(f"{_OUT.value}.json").write_text(to_json(rows, indent=1) + "\n")
    print(table(rows))
    plot(Path(f"{_OUT.value}.png"), rows)


def _rows() -> Iterator[Row]:
    """Measurements of every network, seed by seed, so that an interrupted run covers all configurations."""
    for resolution in map(int, _RESOLUTIONS.value):
        for seed in range(_NETWORKS.value):
            for config in _CONFIGS.value:
                G = network(config, resolution, seed, _CHANNEL_BASE.value, _CHANNEL_MAX.value)
                yield {"config": config, "resolution": resolution, "seed": seed} | measure(G, _SAMPLES.value, seed)


def network(config: str, resolution: int, seed: int, channel_base: int, channel_max: int) -> sg3tf.Generator:
    """Build a generator with random weights and, like a trained one, running magnitudes or noise."""
    keras.utils.set_random_seed(seed)
    share = 2 if config == "r" else 1  # the preset doubles them
    options = {"channel_base": channel_base // share, "channel_max": channel_max // share}
    if config not in "abc":
        options["magnitude_ema_beta"] = 0  # one update replaces the magnitudes
    G = sg3tf.Generator.from_preset(f"stylegan3-{config}", resolution, **options)
    if G.supports_noise:
        for conv in G.convs:
            conv.noise_strength.assign(NOISE_STRENGTH)
    G(latents.z_from_seeds(range(LATENTS), G.config.z_dim), update_emas=True)
    return G


def measure(G: sg3tf.Generator, count: int, seed: int) -> Row:
    """Measure contrast, and equivariance in dB at the contrast CONTRAST; no equivariance for a constant input."""
    z = latents.z_from_seeds(range(LATENTS), G.config.z_dim)
    images = G(z).numpy()
    contrast = float(np.sqrt(np.mean(np.var(images, axis=(1, 2)))))
    row: Row = {"contrast": contrast}
    if G.supports_transform:
        samples = Samples(count, G.config.z_dim, seed, None)
        for name, metric in MEASURED.items():
            value = measure_equivariance(METRICS[metric].kind, G, samples, batch=BATCH)
            row[name] = value + 20 * np.log10(contrast / CONTRAST)
    return row


def table(rows: list[Row]) -> str:
    """Format mean and standard deviation over networks as Markdown."""
    resolutions = sorted({row["resolution"] for row in rows})
    titles = [f"{name}, {resolution} px" for resolution in resolutions for name in MEASURED]
    lines = [["", *titles, "FID, EQ-T, EQ-R published"], ["---"] * (len(titles) + 2)]
    for config in dict.fromkeys(row["config"] for row in rows):
        cells = [_cell(_values(rows, config, resolution, name)) for resolution in resolutions for name in MEASURED]
        published = ", ".join("-" if value is None else f"{value:.2f}" for value in PUBLISHED[config])
        lines.append([config.upper(), *cells, published])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _values(rows: list[Row], config: str, resolution: int, name: str) -> list[float]:
    return [row[name] for row in rows if (row["config"], row["resolution"]) == (config, resolution) and name in row]


def plot(path: Path, rows: list[Row]) -> None:
    """Plot EQ-T and EQ-R of every configuration: each random network, their means, and published values."""
    configs = [config for config in PUBLISHED if config != "a"]
    places = np.arange(len(configs))
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(9, 4), layout="constrained")
    for axes, name, column in zip(panels, ("EQ-T", "EQ-R"), (1, 2), strict=True):
        axes.plot(places, [PUBLISHED[config][column] for config in configs], "ks-", label="trained, 256 px (published)")
        for resolution, color in zip(sorted({row["resolution"] for row in rows}), ("C0", "C1", "C2"), strict=False):
            values = [_values(rows, config, resolution, name) for config in configs]
            measured = [(place, group) for place, group in zip(places, values, strict=True) if group]
            for place, group in measured:
                axes.plot([place] * len(group), group, ".", color=color, alpha=0.4)
            means = [np.mean(group) for _, group in measured]
            axes.plot([place for place, _ in measured], means, "o-", color=color, label=f"random, {resolution} px")
        axes.set(xticks=places, xticklabels=[config.upper() for config in configs], title=name, xlabel="configuration")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("dB")
    panels[0].legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    app.run(main)
