"""Show textures that stick to pixel coordinates, and print one JSON line per network (arXiv 2106.12423, figure 1).

sg3tf texture-sticking --network=T.keras,stylegan2.keras --outdir=sticking
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from sg3tf.images import save_png
from sg3tf.metrics.plots import check_matplotlib, enlarge_to_fit, image_table, plot_fixed_shares
from sg3tf.utils import flags as shared
from sg3tf.utils.json_text import to_json

if TYPE_CHECKING:
    from sg3tf.metrics.texture_sticking import AverageImage, Views

_SIDE = 192  # pixels; smaller images are enlarged to this size
_STRIP = 512  # pixels; strips are enlarged to this size


@dataclasses.dataclass(frozen=True)
class _Measured:
    """Images of one network; `moving` and `returned` are None if its input cannot be moved."""

    image: Any
    neighbors: AverageImage
    strip: Any
    moving: AverageImage | None
    returned: Any


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    flags.DEFINE_list(
        "network", None, "Generators to show side by side: .keras files, checkpoint folders or run folders.",
        required=True, flag_values=options,
    )  # fmt: skip
    shared.define_outdir(options, "Folder for the images.")
    flags.DEFINE_integer(
        "seed", 0, "Seed of the central latent and of all random numbers.", lower_bound=0, upper_bound=2**32 - 2,
        flag_values=options,
    )  # fmt: skip
    flags.DEFINE_float(
        "trunc", 1.0, "Truncation psi of the central latent; 0 for the average latent.", flag_values=options
    )
    flags.DEFINE_float(
        "radius", 0.5, "Radius of the neighborhood, in standard deviations of w.", lower_bound=0.0, flag_values=options
    )
    shared.define_num_samples(options, 128, "Number of neighbors, of transforms and of frames.", lower_bound=2)
    shared.define_batch(options, 8, "Images at a time.")


def main(options: Any) -> None:
    """Run the command."""
    # Imported here, so that --help does not load TensorFlow.
    from sg3tf.metrics.texture_sticking import Views
    from sg3tf.models.loading import load, resolve_network

    check_matplotlib()
    outdir = Path(options.outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    shown = []
    for path in options.network:
        network = resolve_network(path)  # resolve once, because a run may still be training
        G = load(network)
        views = Views(G, options.seed, options.trunc, options.batch, _average_label(network, G.config.label_dim))
        shown.append(_measure(views, options.num_samples, options.radius))
    _write(outdir, _names(options.network), shown, options.num_samples)
    for path, of_network in zip(options.network, shown, strict=True):
        print(to_json(_line(path, of_network, options)))


def _average_label(network: str, label_dim: int) -> Any:
    """Return zeros [label_dim], the average of standardized numbers; None for other labels, or none."""
    from sg3tf.models.provenance import training_provenance

    scale = training_provenance(network, label_dim).label_scale
    return None if scale is None else np.zeros(label_dim, np.float32)


def _names(networks: list[str]) -> list[str]:
    """Return distinct names for the networks, short if possible."""
    names = [Path(path).name.removesuffix(".keras") for path in networks]
    return names if len(set(names)) == len(names) else networks


def _measure(views: Views, num: int, radius: float) -> _Measured:
    from sg3tf.metrics.texture_sticking import average_images

    image, neighbors = views.image(), average_images(views.neighbors(num, radius))
    strip, moving, returned = _strip(views.interpolation(num)), None, None
    if views.G.supports_transform:
        sums: list[Any] = []
        moving = average_images(_sum_returned(views.translations(num), sums))
        total, weight = (np.sum(parts, axis=0) for parts in zip(*sums, strict=True))
        returned = total / np.maximum(weight, 1)
    return _Measured(image, neighbors, strip, moving, returned)


def _sum_returned(motions: Iterator[tuple[Any, Any, Any]], returned: list[Any]) -> Iterator[Any]:
    """Yield the generated images; append the sums of the images translated back to `returned`."""
    for images, back, mask in motions:
        returned.append(((back * mask).sum(0, dtype=np.float64), mask.sum(0, dtype=np.float64)))
        yield images


def _strip(frames: Iterator[Any]) -> Any:
    """Return the middle half of the middle column of every frame, side by side: [R / 2, frames, C]."""
    columns = np.concatenate([images[:, :, images.shape[2] // 2] for images in frames])
    quarter = columns.shape[1] // 4
    return columns[:, quarter:-quarter].transpose(1, 0, 2)


def _write(outdir: Path, names: list[str], shown: list[_Measured], num: int) -> None:
    images = _row(network.image for network in shown)
    neighbors = _row(network.neighbors.image for network in shown)
    save_png(outdir / "neighbors.png", image_table(names, {"image": images, f"average of\n{num} neighbors": neighbors}))
    moving = _row(network.moving and network.moving.image for network in shown)
    returned = _row(network.returned for network in shown)
    rows = {"image": images, f"average of\n{num} motions": moving, "the same,\nmoved back": returned}
    save_png(outdir / "motions.png", image_table(names, rows))
    strips = {
        name: [enlarge_to_fit(network.strip, _SIDE // 2, _STRIP)] for name, network in zip(names, shown, strict=True)
    }
    save_png(outdir / "slices.png", image_table([""], strips))
    panels: dict[str, dict[str, AverageImage | None]] = {
        "neighbors in w": {name: network.neighbors for name, network in zip(names, shown, strict=True)},
        "input moved": {name: network.moving for name, network in zip(names, shown, strict=True)},
    }
    plot_fixed_shares(outdir / "fixed.png", panels)


def _row(images: Iterable[Any]) -> list[Any]:
    return ["cannot be moved" if image is None else _enlarged(image) for image in images]


def _enlarged(image: Any) -> Any:
    """Enlarge an image [H, W, C] by pixel repetition, so that its longer side has about _SIDE pixels."""
    height, width = image.shape[:2]
    scale = max(_SIDE // max(height, width), 1)
    return enlarge_to_fit(image, scale * height, scale * width)


def _line(path: str, shown: _Measured, options: Any) -> dict[str, Any]:
    return {
        "network": path,
        "cycles_per_pixel": shown.neighbors.frequency.tolist(),
        "fixed_neighbors": _rounded(shown.neighbors),
        "fixed_moving": shown.moving and _rounded(shown.moving),
        "seed": options.seed,
        "psi": options.trunc,
        "radius": options.radius,
        "num": options.num_samples,
    }


def _rounded(average: AverageImage) -> list[float]:
    return average.fixed_share.round(4).tolist()
