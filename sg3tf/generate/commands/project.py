"""python -m sg3tf.cli.generate project: the latents of a given picture, and a generator tuned to it.

python -m sg3tf.cli.generate project --network=runs/00000-... --target=face.png --detector_dir=detectors --outdir=found
python -m sg3tf.cli.generate project --network=runs/00000-... --target=face.png --transform --outdir=found --tune=t.keras
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from numpy.typing import NDArray

import sg3tf
from sg3tf import images, video
from sg3tf.editing.perceptual import Distance, distance, pixels
from sg3tf.editing.pivotal_tuning import tune
from sg3tf.editing.projector import project_image, read_picture
from sg3tf.generate import latents_file, shared_flags
from sg3tf.generate.keras_network import keras_network
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network, mean_and_sigma, w_samples
from sg3tf.latents import transform_matrix
from sg3tf.models.generators import Generator
from sg3tf.utils.files import atomic_path
from sg3tf.utils.progress import with_progress

FloatArray = NDArray[np.float32]

_FRAMES = 200  # of the video


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_network_flags()
    shared_flags.define_label_flags()
    flags.DEFINE_string("target", None, "The picture: any file that Pillow reads.", required=True)
    flags.DEFINE_bool("crop", False, "Take the square in its middle and resize it, if it has another size.")
    flags.DEFINE_string("outdir", None, "Folder for latents.npz and pictures.", required=True)
    flags.DEFINE_enum("space", "w", ["w", "w+"], "One style vector for all layers, or one for each.")
    flags.DEFINE_bool("transform", False, "Look for a rotation and a translation, too.")
    flags.DEFINE_integer("steps", 1000, "Steps of the search.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 0.1, "Of the search.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the noise, and of the latents for the statistics of w.", lower_bound=0)
    flags.DEFINE_string("detector_dir", None, "Folder with the files of LPIPS: docs/detectors.md.")
    flags.DEFINE_string("discriminator", None, "Without those: .keras file of the discriminator, for its features.")
    flags.DEFINE_string("video", None, "MP4, WebM or GIF of the search: the picture, and what was found so far.")
    flags.DEFINE_integer("fps", 30, "Frames per second.", lower_bound=1)
    flags.DEFINE_string("tune", None, ".keras file for a generator that is then tuned to the picture.")
    flags.DEFINE_integer("tune_steps", 350, "Steps of that.", lower_bound=1)
    flags.DEFINE_float("tune_rate", 3e-4, "Learning rate of that.", lower_bound=0)
    flags.DEFINE_float("locality", 0.0, "Weight for images nearby to stay as they are; 0.1 is usual.", lower_bound=0)


def main(options: Any) -> None:
    """Runs the command with its flags."""
    _check_files(options)
    network = shared_flags.network(options)
    compare = distance(options.detector_dir, options.discriminator)
    target = read_picture(Path(options.target), network.resolution, network.channels, options.crop)
    label = shared_flags.label(network, options)
    settings = {name: options[name].value for name in ("space", "transform", "steps", "learning_rate", "seed")}
    found = project(network, target, compare, label=label, **settings)
    outdir = Path(options.outdir)
    latents_file.save(outdir / "latents.npz", found.latents)
    pictures = {"target": images.to_uint8(target), "projected": found.image}
    if options.tune:
        settings = {"steps": options.tune_steps, "learning_rate": options.tune_rate, "locality": options.locality}
        tuned = tuned_to(network, found.latents, target, compare, **settings, seed=options.seed)
        save_generator(Path(options.tune), tuned.generator)
        pictures["tuned"] = draw(tuned, found.latents)
    _save_pictures(outdir, options, pictures)
    for name in [*pictures][1:]:
        print(json.dumps({"image": name, **quality(pictures[name], target, compare)}))
    if options.video:
        video.save(Path(options.video), frames(network, target, found.trace), options.fps)
    print(outdir)


@dataclasses.dataclass(frozen=True)
class Projection:
    """What `project` has found.

    Attributes:
        latents: one point, with a transform if one was looked for.
        trace: the points after every step.
        distances: float32 [steps], before every step, under its noise.
        image: uint8 [R, R, C] of the point.
    """

    latents: Latents
    trace: Latents
    distances: FloatArray
    image: NDArray[np.uint8]


def project(
    network: Network,
    target: FloatArray,
    compare: Distance = pixels,
    *,
    label: FloatArray | None = None,
    space: str = "w",
    transform: bool = False,
    steps: int = 1000,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Projection:
    """Looks for the point whose image is nearest to a picture.

    Args:
        network: a Keras model; stays as it is.
        target: [R, R, C] in [-1, 1], of sg3tf.editing.projector.read_picture.
        compare: distance of sg3tf.editing.perceptual.
        label: [label_dim] whose w's mean is the start, for a network with labels.
        space, steps, learning_rate: as of sg3tf.editing.projector.search.
        transform: look for a rotation and a translation, too.
        seed: of 10 000 latents for the statistics of w, and of the noise.

    Raises:
        ValueError: a network without gradients, or one that cannot be moved.
        FloatingPointError: as of search.
    """
    G = network.generator.with_dtype("float32")  # in 16 bits small gradients vanish
    if transform:
        network.require_transform()
    mean, sigma = mean_and_sigma(w_samples(network, seed=seed, label=label))
    trace = project_image(
        G,
        target,
        compare,
        mean,
        sigma,
        space=space,
        moves=transform,
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        shown=functools.partial(with_progress, count=steps, unit="steps"),
    )
    transforms = None if trace.motion is None else np.stack([transform_matrix(*motion) for motion in trace.motion])
    walked = Latents(trace.ws, transforms, label=None if label is None else np.tile(label, [steps, 1]))
    return Projection(walked[-1:], walked, trace.distances, draw(network, walked[-1:]))


def tuned_to(
    network: Network,
    pivot: Latents,
    target: FloatArray,
    compare: Distance = pixels,
    *,
    steps: int = 350,
    learning_rate: float = 3e-4,
    locality: float = 0.0,
    seed: int = 0,
) -> Network:
    """The network of a generator that draws `target` at the pivot; arguments as of sg3tf.editing.pivotal_tuning.tune.

    Args:
        pivot: one point, as `project` finds it.
        seed: of the latents for locality, which is asked for as far from the pivot as w is from its mean.
    """
    label = None if pivot.label is None else pivot.label[0]
    w = w_samples(network, seed=seed, label=label)
    tuned = tune(
        network.generator.with_dtype("float32"),
        pivot.ws[0],
        None if pivot.transform is None else pivot.transform[0],
        target,
        compare,
        steps=steps,
        learning_rate=learning_rate,
        locality=locality,
        others=w[np.arange(steps) % len(w)],
        reach=mean_and_sigma(w)[1],
        shown=functools.partial(with_progress, count=steps, unit="steps"),
    )
    return keras_network(tuned, f"{network.name}, tuned", network.batch)


def save_generator(path: Path, G: Generator) -> None:
    """Writes a .keras file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        G.save(temporary)


def frames(network: Network, target: FloatArray, trace: Latents, count: int = _FRAMES) -> Iterator[NDArray[np.uint8]]:
    """The picture beside what was found, [R, 2 R, C] uint8, at `count` steps or all of fewer."""
    chosen = trace[np.unique(np.linspace(0, len(trace) - 1, count).round().astype(int))]
    left = images.to_uint8(target)
    for right in with_progress(network.images(chosen.ws, chosen.transform), len(chosen), "frames"):
        yield np.concatenate([left, right], axis=1)


def psnr(image: NDArray[np.uint8], target: FloatArray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit values; infinite for equal ones."""
    difference = image.astype(np.float64) - images.to_uint8(target)
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(255) - 10 * np.log10(np.mean(difference**2)))


def quality(image: NDArray[np.uint8], target: FloatArray, compare: Distance) -> dict[str, float]:
    """Of an image [R, R, C]: `psnr`, and its distance from the target."""
    as_float = image.astype(np.float32) / 127.5 - 1
    return {"psnr": psnr(image, target), "distance": float(compare(tf.constant(as_float[None]), target[None])[0])}


def draw(network: Network, point: Latents) -> NDArray[np.uint8]:
    """The image [R, R, C] of one point."""
    return network.synthesize(point.ws, point.transform)[0]


def _save_pictures(outdir: Path, options: Any, pictures: dict[str, NDArray[np.uint8]]) -> None:
    text = {
        "Software": f"sg3tf {sg3tf.__version__}",
        "network": options.network,
        **shared_flags.flags_as_metadata(options),
    }
    for name, picture in pictures.items():
        images.save_png(outdir / f"{name}.png", picture, text)
    images.save_png(outdir / "side_by_side.png", images.grid(np.stack([*pictures.values()]), len(pictures)), text)


def _check_files(options: Any) -> None:
    """Refuses what would fail after the search."""
    if options.video:
        video.check(Path(options.video))
    if not options.tune:
        return
    if Path(options.tune).suffix != ".keras":
        raise ValueError(f"tune={options.tune}: give the name of a .keras file")
    if Path(options.tune).exists():
        raise FileExistsError(f"tune={options.tune} exists already; remove it or choose another name")
