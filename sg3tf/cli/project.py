"""Find the latents of an image, and tune a generator to it.

sg3tf project --network=runs/00000-... --target=face.png --detector_dir=detectors --outdir=found
sg3tf project --network=runs/00000-... --target=face.png --transform --outdir=found --tune=tuned.keras
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf import images, video
from sg3tf.cli import drawing_flags
from sg3tf.generate import latents_file
from sg3tf.utils import flags as shared
from sg3tf.utils.json_text import to_json

if TYPE_CHECKING:
    from sg3tf.generate.network import Network
    from sg3tf.metrics.detectors.lpips import Distance
    from sg3tf.models.generators import Generator


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_drawing_network(options)
    drawing_flags.define_class(options)
    shared.define_outdir(options, "Folder for latents.npz and images.")
    shared.define_seed(options, "Seed of the noise, and of the latents for the statistics of w.")
    shared.define_detector_dir(options, "Folder with the files of LPIPS; see docs/detectors.md.")
    drawing_flags.define_fps(options)
    flags.DEFINE_string(
        "target", None, "Image to project: any file that Pillow reads.", required=True, flag_values=options
    )
    flags.DEFINE_bool(
        "crop",
        False,
        "If the target has another size, crop the largest centered area with the network's shape and resize it.",
        flag_values=options,
    )
    flags.DEFINE_enum(
        "space",
        "w",
        ["w", "w+"],
        "Optimize one style vector for all layers (w), or one per layer (w+).",
        flag_values=options,
    )
    flags.DEFINE_bool("transform", False, "Also optimize a rotation and a translation.", flag_values=options)
    flags.DEFINE_integer("steps", 1000, "Optimization steps.", lower_bound=1, flag_values=options)
    flags.DEFINE_float("learning_rate", 0.1, "Learning rate of the optimization.", lower_bound=0, flag_values=options)
    flags.DEFINE_string(
        "discriminator",
        None,
        ".keras file of a discriminator, whose features are compared unless --detector_dir is given; default: "
        "NAME-discriminator.keras next to NAME.keras, or the run's discriminator; empty to compare only pixels.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "video",
        None,
        "Video of the optimization, with the target next to the image: .mp4, .webm or .gif.",
        flag_values=options,
    )
    flags.DEFINE_string("tune", None, ".keras file for a generator tuned to the target.", flag_values=options)
    flags.DEFINE_integer("tune_steps", 350, "Tuning steps.", lower_bound=1, flag_values=options)
    flags.DEFINE_float("tune_rate", 3e-4, "Learning rate of tuning.", lower_bound=0, flag_values=options)
    flags.DEFINE_float(
        "locality", 0.0, "Weight of preserving other images during tuning; 0.1 is typical.", lower_bound=0,
        flag_values=options,
    )  # fmt: skip


def main(options: Any) -> None:
    """Run the command."""
    # Imported here, so that --help does not load TensorFlow.
    from sg3tf.editing.picture import read_picture
    from sg3tf.generate.projection import draw_single, project, projection_frames, quality, tune_network

    _check_output_files(options)
    network = drawing_flags.network_from_flags(options)
    distance = _distance(network, options)
    target = read_picture(Path(options.target), network.resolution, network.channels, options.crop)
    label = drawing_flags.label_from_flags(network, options)
    drawing_flags.prepare_outputs(options)
    found = project(
        network,
        target,
        distance,
        label=label,
        space=options.space,
        transform=options.transform,
        steps=options.steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    outdir = Path(options.outdir)
    latents_file.save(outdir / "latents.npz", found.latents)
    pictures = {"target": images.to_uint8(target), "projected": found.image}
    if options.tune:
        tuned = tune_network(
            network,
            found.latents,
            target,
            distance,
            steps=options.tune_steps,
            learning_rate=options.tune_rate,
            locality=options.locality,
            seed=options.seed,
        )
        pictures["tuned"] = draw_single(tuned, found.latents)
    else:
        (outdir / "tuned.png").unlink(missing_ok=True)  # of an earlier command
    _save_pictures(outdir, network, options, pictures)
    for name in [*pictures][1:]:
        print(to_json({"image": name, **quality(pictures[name], target, distance)}))
    try:
        if options.video:
            video.save(Path(options.video), projection_frames(network, target, found.trace), options.fps)
    except Exception:  # a tuned network takes longer than a video
        if options.tune:
            _save_tuned(Path(options.tune), tuned.generator, network)
        raise
    if options.tune:  # last, because existing files are not replaced: a killed command can be run again
        _save_tuned(Path(options.tune), tuned.generator, network)
    print(outdir)


def _distance(network: Network, options: Any) -> Distance:
    """Return the distance that the flags specify; if they specify none, a line on stderr names the default."""
    from sg3tf.editing.perceptual import features, perceptual, pixels, pixels_and
    from sg3tf.models.discriminator_loading import find_discriminator, load_discriminator

    if options.detector_dir is not None and options.discriminator:
        given = f"detector_dir={options.detector_dir}, discriminator={options.discriminator}"
        raise ValueError(f"{given}: give one of them")
    if options.detector_dir is not None:
        return pixels_and(perceptual(options.detector_dir))
    if options.discriminator == "":
        return pixels
    config = network.generator.config  # raises if the network has no gradients
    try:
        file = Path(options.discriminator) if options.discriminator else find_discriminator(options.network)
    except FileNotFoundError as error:
        print(
            f"distance: pixels alone, as no discriminator is found ({error}, or name it with --discriminator)",
            file=sys.stderr,
        )
        return pixels
    remedy = "give another --discriminator, or --discriminator= to compare pixels alone"
    try:
        D = load_discriminator(file)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"discriminator={error}; {remedy}") from error
    if (D.config.resolution, D.config.image_channels) != (config.resolution, config.image_channels):
        raise ValueError(f"discriminator={file}: its images are of another size or number of channels; {remedy}")
    if not options.discriminator:
        print(f"distance: pixels, and features of the discriminator {file}", file=sys.stderr)
    return pixels_and(features(D))


def _save_tuned(path: Path, G: Generator, network: Network) -> None:
    """Write a .keras file, with the meaning of its labels, which is that of `network`."""
    from sg3tf.models.loading import save_with_labels

    path.parent.mkdir(parents=True, exist_ok=True)
    save_with_labels(G, path, network.classes, network.label_scale)


def _check_output_files(options: Any) -> None:
    """Reject file names that would fail after the optimization."""
    if options.video:
        video.check(Path(options.video), options.fps)
    if options.tune and Path(options.tune).suffix != ".keras":
        raise ValueError(f"tune={options.tune}: give the name of a .keras file")
    if options.tune and Path(options.tune).exists():
        raise FileExistsError(f"tune={options.tune} exists already; remove it or choose another name")


def _save_pictures(outdir: Path, network: Network, options: Any, pictures: dict[str, NDArray[np.uint8]]) -> None:
    text = drawing_flags.picture_metadata(network, options)
    for name, picture in pictures.items():
        images.save_png(outdir / f"{name}.png", picture, text)
    images.save_png(outdir / "side_by_side.png", images.grid(np.stack([*pictures.values()]), len(pictures)), text)
