"""python -m sg3tf.cli.generate edit: images along directions that change them in one way.

python -m sg3tf.cli.generate edit --network=runs/00000-... --method=pca --direction=0,1 --seeds=0-3 --out=pca.png
python -m sg3tf.cli.generate edit --network=runs/00000-... --method=sefa --layers=coarse --save_directions=d.npz --out=s.png
python -m sg3tf.cli.generate edit --network=runs/00000-... --labels=smiles.csv --latents=found/latents.npz --out=smile.png
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf.editing import directions as directions_file
from sg3tf.editing.directions import Directions
from sg3tf.editing.ganspace import ganspace_directions
from sg3tf.editing.interfacegan import Labels, held_out_accuracy, interfacegan_direction, read_labels
from sg3tf.editing.sefa import sefa_directions
from sg3tf.generate import latents_file, shared_flags
from sg3tf.generate.captions import Picture, with_captions
from sg3tf.generate.commands.mix import style_range
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network, w_samples
from sg3tf.images import enlarge
from sg3tf.utils.progress import with_progress

FloatArray = NDArray[np.float32]


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_flags(seeds="0-3")
    flags.DEFINE_enum("method", "pca", ["pca", "sefa"], "Where w varies most, or what changes the styles most.")
    flags.DEFINE_string("labels", None, "Instead: .csv or .npz file with the columns seed, or index, and 0 or 1.")
    flags.DEFINE_string("label_latents", None, "The .npz file of latents that index counts in.")
    flags.DEFINE_string("directions", None, "Instead: .npz file of --save_directions.")
    flags.DEFINE_string("save_directions", None, ".npz file to leave the directions in.")
    flags.DEFINE_integer("count", 10, "Directions of pca and sefa.", lower_bound=1)
    flags.DEFINE_integer("samples", 10_000, "Random latents, for pca and standard deviations.", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "Of those.", lower_bound=0)
    flags.DEFINE_list("direction", ["0"], "Names or numbers of those to show.")
    flags.DEFINE_string("strength", "-3:3:7", "In standard deviations: FIRST:LAST:COUNT, or one number.")
    flags.DEFINE_string("layers", None, "Style vectors to move: coarse, middle, fine, or numbers: 0-6,9; default: all.")
    shared_flags.define_picture_flags("PNG to write: a row for each direction and point, a column for each strength.")


def main(options: Any) -> None:
    """Runs the command with its flags."""
    sweep = strengths(options.strength)
    network = shared_flags.network(options)
    directions = _directions(network, options)
    chosen = [directions.number(text) for text in options.direction]
    if options.save_directions:
        directions_file.save(Path(options.save_directions), directions)
    start = shared_flags.latents_from_flags(network, options)
    edited = [edit(start, directions, number, sweep) for number in chosen]
    rows: dict[str, list[Picture]] = {}
    for number, along in zip(chosen, edited, strict=True):
        rows |= _rows(network, start, along, directions.names[number], options.scale)
    shared_flags.save_picture(options, with_captions([f"{strength:+.3g}" for strength in sweep], rows))
    shared_flags.save_latents(options, _joined(edited))


def edit(latents: Latents, directions: Directions, number: int, sweep: FloatArray) -> Latents:
    """Every point at every strength [S] along direction `number`, point by point; they are no longer of their seeds."""
    ws = directions_file.apply_direction(latents.ws, directions, number, sweep)
    each = latents[np.repeat(np.arange(len(latents)), len(sweep))]
    return Latents(ws.reshape(-1, *ws.shape[2:]), each.transform, label=each.label)


def from_samples(w: FloatArray, count: int, layers: list[int]) -> Directions:
    """The first principal components of w [N, w_dim]."""
    return Directions.of([f"pc{i}" for i in range(count)], ganspace_directions(w, count), w, layers)


def from_weights(network: Network, w: FloatArray, count: int, layers: list[int]) -> Directions:
    """What changes the styles of `layers` most; w [N, w_dim] tells the standard deviations."""
    found = sefa_directions(network.generator, layers, count)
    return Directions.of([f"sefa{i}" for i in range(count)], found, w, layers)


def from_labels(samples: FloatArray, labels: Labels, w: FloatArray, layers: list[int]) -> Directions:
    """A direction for each property, towards 1.

    Args:
        samples: [N, w_dim] of what is labelled.
        labels: N of them.
        w: [M, w_dim], random ones, for the standard deviations.
        layers: style vectors to move.

    Raises:
        ValueError: a property of which all have or none has it.
    """
    found = []
    for name, column in labels.columns.items():
        known = ~np.isnan(column)
        try:
            found.append(interfacegan_direction(samples[known], column[known])[0])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        accuracy = held_out_accuracy(samples[known], column[known])
        print(f"{name}: {accuracy:.1%} of labels left out are right", file=sys.stderr)
    return Directions.of([*labels.columns], found, w, layers)


def strengths(text: str) -> FloatArray:
    """FIRST:LAST:COUNT, or one number, as float32 [S]; ValueError for something else."""
    try:
        first, last, count = text.split(":") if ":" in text else (text, text, "1")
        values = np.linspace(float(first), float(last), int(count), dtype=np.float32)
    except ValueError:
        values = np.zeros(0, np.float32)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"strength={text}: give FIRST:LAST:COUNT, such as -3:3:7, or one number")
    return values


def _directions(network: Network, options: Any) -> Directions:
    given = [name for name in ("method", "labels", "directions") if options[name].present]
    if len(given) > 1:
        raise ValueError(f"{', '.join(given)}: give one of them")
    layers = style_range(options.layers, network.num_ws) if options.layers else [*range(network.num_ws)]
    if options.directions:
        loaded = directions_file.load(Path(options.directions), network.num_ws, network.w_dim)
        return dataclasses.replace(loaded, layers=np.array(layers)) if options.layers else loaded
    labels = read_labels(Path(options.labels)) if options.labels else None
    samples = _labelled(network, labels, options) if labels else None
    w = w_samples(network, options.samples, options.seed, shared_flags.label(network, options))
    if labels is not None and samples is not None:
        return from_labels(samples, labels, w, layers)
    if options.method == "sefa":
        return from_weights(network, w, options.count, layers)
    return from_samples(w, options.count, layers)


def _labelled(network: Network, labels: Labels, options: Any) -> FloatArray:
    """w [N, w_dim] of what the labels are of."""
    if labels.kind == "seed":
        if options.label_latents:
            raise ValueError(f"label_latents={options.label_latents}: the labels are of seeds; leave it out")
        label = shared_flags.label(network, options)
        return shared_flags.from_seeds(network, labels.numbers.tolist(), label=label).ws[:, 0]
    if not options.label_latents:
        raise ValueError("label_latents is missing: the labels are of positions in a file of latents")
    latents = latents_file.load(Path(options.label_latents), network)
    if labels.numbers.max(initial=0) >= len(latents):
        raise ValueError(f"label_latents={options.label_latents}: holds {len(latents)}, not {labels.numbers.max()} + 1")
    return latents.ws[labels.numbers].mean(axis=1, dtype=np.float64)


def _rows(network: Network, start: Latents, edited: Latents, name: str, scale: int) -> dict[str, list[Picture]]:
    """The pictures of every point, under the names of the direction and the point."""
    drawn = with_progress(network.images(edited.ws, edited.transform), len(edited))
    pictures = [enlarge(image, scale) for image in drawn]
    columns = len(edited) // len(start)
    return {f"{name} {point}": pictures[row * columns : (row + 1) * columns] for row, point in enumerate(start.names())}


def _joined(parts: list[Latents]) -> Latents:
    arrays = [part.arrays() for part in parts]
    return Latents(**{name: np.concatenate([array[name] for array in arrays]) for name in arrays[0]})
