"""Draw images along directions in latent space.

sg3tf edit --network=runs/00000-... --method=pca --direction=0,1 --seeds=0-3 --out=pca.png
sg3tf edit --network=runs/00000-... --method=sefa --layers=coarse --save_directions=d.npz --out=sefa.png
sg3tf edit --network=runs/00000-... --labels=smiles.csv --latents=found/latents.npz --out=smile.png
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf.cli import drawing_flags
from sg3tf.editing import directions as directions_file
from sg3tf.editing.directions import Directions
from sg3tf.editing.interfacegan import Labels, read_labels
from sg3tf.generate import latents_file
from sg3tf.generate.edits import (
    directions_from_labels,
    directions_from_samples,
    directions_from_weights,
    edit_latents,
)
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.seeds import latents_from_seeds
from sg3tf.generate.sheets import Picture, with_captions
from sg3tf.images import enlarge
from sg3tf.utils import flags as shared
from sg3tf.utils.progress import with_progress

FloatArray = NDArray[np.float32]


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_latents(options, seeds="0-3")
    drawing_flags.define_picture(
        options, "PNG file to write, with one row per direction and image, and one column per strength."
    )
    shared.define_num_samples(
        options, 10_000, "Number of random latents, for --method=pca and for standard deviations.", lower_bound=2
    )
    shared.define_seed(options, "Seed of the random latents.")
    flags.DEFINE_enum(
        "method", "pca", ["pca", "sefa"],
        "Directions of largest variance of w (GANSpace), or of largest change of the styles (SeFa).",
        flag_values=options,
    )  # fmt: skip
    flags.DEFINE_string(
        "labels", None,
        "Labeled images, for directions by InterFaceGAN: .csv or .npz file with seed or index, and columns of 0 and 1.",
        flag_values=options,
    )  # fmt: skip
    flags.DEFINE_string(
        "label_latents", None, ".npz file of latents whose positions are the index in --labels.", flag_values=options
    )
    flags.DEFINE_string(
        "directions", None, "Directions written by --save_directions, instead of --method.", flag_values=options
    )
    flags.DEFINE_string("save_directions", None, ".npz file to write the directions to.", flag_values=options)
    flags.DEFINE_integer(
        "count", 10, "Number of directions for --method, at most the size of w.", lower_bound=1, flag_values=options
    )
    flags.DEFINE_list("direction", ["0"], "Names or numbers of the directions to show.", flag_values=options)
    flags.DEFINE_string(
        "strength", "-3:3:7", "Strengths in standard deviations: FIRST:LAST:COUNT, or one number.", flag_values=options
    )
    flags.DEFINE_string(
        "layers", None, "Style vectors to move: coarse, middle, fine, or numbers: 0-6,9; default: all.",
        flag_values=options,
    )  # fmt: skip


def main(options: Any) -> None:
    """Run the command."""
    strengths = parse_strengths(options.strength)
    _check_directions(options)
    network = drawing_flags.network_from_flags(options)
    drawing_flags.prepare_outputs(options)
    directions = _directions_from_flags(network, options)
    numbers = [directions.number(text) for text in options.direction]
    if options.save_directions:
        directions_file.save(Path(options.save_directions), directions)
    # Directions of a file need no --class.
    start = drawing_flags.latents_from_flags(network, options, uses_class=not options.directions)
    edited = [edit_latents(start, directions, number, strengths) for number in numbers]
    rows: list[tuple[str, list[Picture]]] = []
    for number, latents in zip(numbers, edited, strict=True):
        drawn = with_progress(network.images(latents.ws, latents.transform), len(latents))
        pictures = [enlarge(image, options.scale) for image in drawn]
        for row, name in enumerate(start.names()):
            part = slice(row * len(strengths), (row + 1) * len(strengths))
            rows.append((f"{directions.names[number]} {name}", pictures[part]))
    drawing_flags.save_picture(network, options, with_captions([f"{strength:+.3g}" for strength in strengths], rows))
    arrays = [latents.arrays() for latents in edited]
    joined = {name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}
    drawing_flags.save_latents(options, Latents(**joined))


def parse_strengths(text: str) -> FloatArray:
    """Return FIRST:LAST:COUNT, or one number, as float32 [S].

    Raises:
        ValueError: malformed text.
    """
    try:
        first, last, count = text.split(":") if ":" in text else (text, text, "1")
        values = np.linspace(float(first), float(last), int(count), dtype=np.float32)
    except ValueError:
        values = np.zeros(0, np.float32)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"strength={text}: give FIRST:LAST:COUNT, such as -3:3:7, or one number")
    return values


def _check_directions(options: Any) -> None:
    """Raise ValueError for flags that contradict each other or have no effect."""
    given = [name for name in ("method", "labels", "directions") if options[name].present]
    if len(given) > 1:
        raise ValueError(f"{', '.join(given)}: give one of them")
    if options.label_latents and not options.labels:
        raise ValueError(
            f"label_latents={options.label_latents}: has no effect without --labels; add it or leave it out"
        )
    unused = [name for name in ("count", "num_samples", "seed") if options[name].present]
    if options.directions and unused:
        values = ", ".join(f"{name}={options[name].value}" for name in unused)
        raise ValueError(f"{values}: of no effect with directions={options.directions}; leave out {', '.join(unused)}")


def _directions_from_flags(network: Network, options: Any) -> Directions:
    layers = drawing_flags.style_range(options.layers or f"0-{network.num_ws - 1}", network.num_ws)
    if options.directions:
        loaded = directions_file.load(Path(options.directions), network.num_ws, network.w_dim)
        return dataclasses.replace(loaded, layers=np.array(layers)) if options.layers else loaded
    labels = read_labels(Path(options.labels)) if options.labels else None
    samples = _labeled_samples(network, labels, options) if labels else None
    w = network.sample_w(options.num_samples, options.seed, drawing_flags.label_from_flags(network, options))
    if labels is not None and samples is not None:
        return directions_from_labels(samples, labels, w, layers)
    count = options.count if options["count"].present else min(options.count, network.w_dim)
    if options.method == "sefa":
        return directions_from_weights(network, w, count, layers)
    return directions_from_samples(w, count, layers)


def _labeled_samples(network: Network, labels: Labels, options: Any) -> FloatArray:
    """Return w [N, w_dim] of the labeled images."""
    if labels.kind == "seed":
        if options.label_latents:
            raise ValueError(f"label_latents={options.label_latents}: the labels are of seeds; leave it out")
        label = drawing_flags.label_from_flags(network, options)
        return latents_from_seeds(network, labels.numbers.tolist(), label=label).ws[:, 0]
    if not options.label_latents:
        raise ValueError("label_latents is missing: the labels are of positions in a file of latents")
    latents = latents_file.load(Path(options.label_latents), network)
    if labels.numbers.max(initial=0) >= len(latents):
        raise ValueError(f"label_latents={options.label_latents}: holds {len(latents)}, not {labels.numbers.max()} + 1")
    return latents.ws[labels.numbers].mean(axis=1, dtype=np.float64)
