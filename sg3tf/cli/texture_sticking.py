"""python -m sg3tf.cli.texture_sticking: pictures of what sticks to pixel coordinates (arXiv 2106.12423, figure 1).

python -m sg3tf.cli.texture_sticking --network=T.keras,stylegan2.keras --out=sticking
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import numpy as np

from sg3tf.images import save_png
from sg3tf.metrics.plots import check_matplotlib, enlarge_to_fit, image_table, plot_fixed_shares
from sg3tf.metrics.texture_sticking import AverageImage, Views, average_images
from sg3tf.models.loading import load

_NETWORK = flags.DEFINE_list(
    "network", None, ".keras files, checkpoint or run folders, set side by side.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Folder for the pictures.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Central latent, and what is random.", lower_bound=0, upper_bound=2**32 - 2)
_PSI = flags.DEFINE_float("psi", 1.0, "Truncation; 0: the average latent is the central one.")
_RADIUS = flags.DEFINE_float("radius", 0.5, "Of the neighborhood, in standard deviations of w.", lower_bound=0.0)
_NUM = flags.DEFINE_integer("num", 128, "Neighbors, motions and frames.", lower_bound=2)
_BATCH = flags.DEFINE_integer("batch", 8, "Images at a time.", lower_bound=1)

_SIDE = 192  # pixels that images are enlarged to, where they are smaller
_STRIP = 512  # pixels that strips are enlarged to


def main(argv: list[str]) -> int:
    """Writes the pictures and prints a line for each network; returns the exit status."""
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        check_matplotlib()
        out = Path(_OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        names = _names()
        shown = [_show(Views(load(path), _SEED.value, _PSI.value, _BATCH.value)) for path in _NETWORK.value]
        _write(out, names, shown)
    except (OSError, ValueError, ArithmeticError) as error:
        return _fail(str(error))
    for path, of_network in zip(_NETWORK.value, shown, strict=True):
        print(json.dumps(_line(path, of_network)))
    return 0


def _names() -> list[str]:
    """Of the networks, for people: what tells the paths apart."""
    names = [Path(path).stem for path in _NETWORK.value]
    return names if len(set(names)) == len(names) else list(_NETWORK.value)


def _show(views: Views) -> dict[str, Any]:
    num = _NUM.value
    shown: dict[str, Any] = {
        "image": views.image(),
        "neighbors": average_images(views.neighbors(num, _RADIUS.value)),
        "strip": _strip(views.interpolation(num)),
        "moving": None,
        "returned": None,
    }
    if views.G.supports_transform:
        returned: list[Any] = []
        shown["moving"] = average_images(_still(views.translations(num), returned))
        total, weight = (np.sum(parts, axis=0) for parts in zip(*returned, strict=True))
        shown["returned"] = total / np.maximum(weight, 1)
    return shown


def _still(motions: Iterator[tuple[Any, Any, Any]], returned: list[Any]) -> Iterator[Any]:
    """Images as generated; what was moved back is summed up into `returned`."""
    for images, back, mask in motions:
        returned.append(((back * mask).sum(0, dtype=np.float64), mask.sum(0, dtype=np.float64)))
        yield images


def _strip(frames: Iterator[Any]) -> Any:
    """[R / 2, frames, C]: the middle column's middle half from every frame, one beside the other."""
    columns = np.concatenate([images[:, :, images.shape[2] // 2] for images in frames])
    quarter = columns.shape[1] // 4
    return columns[:, quarter:-quarter].transpose(1, 0, 2)


def _write(out: Path, names: list[str], shown: list[dict[str, Any]]) -> None:
    num = _NUM.value
    images = _row(network["image"] for network in shown)
    neighbors = _row(network["neighbors"].image for network in shown)
    save_png(out / "neighbors.png", image_table(names, {"image": images, f"average of\n{num} neighbors": neighbors}))
    moving = _row(network["moving"] and network["moving"].image for network in shown)
    returned = _row(network["returned"] for network in shown)
    rows = {"image": images, f"average of\n{num} motions": moving, "the same,\nmoved back": returned}
    save_png(out / "motions.png", image_table(names, rows))
    strips = {
        name: [enlarge_to_fit(network["strip"], _SIDE // 2, _STRIP)] for name, network in zip(names, shown, strict=True)
    }
    save_png(out / "slices.png", image_table([""], strips))
    panels = {
        title: {name: network[key] for name, network in zip(names, shown, strict=True)}
        for title, key in (("neighbors in w", "neighbors"), ("input moved", "moving"))
    }
    plot_fixed_shares(out / "fixed.png", panels)


def _row(images: Iterator[Any]) -> list[Any]:
    return ["cannot be moved" if image is None else enlarge_to_fit(image, _SIDE, _SIDE) for image in images]


def _line(path: str, shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": path,
        "cycles_per_pixel": shown["neighbors"].frequency.tolist(),
        "fixed_neighbors": _rounded(shown["neighbors"]),
        "fixed_moving": shown["moving"] and _rounded(shown["moving"]),
        "seed": _SEED.value,
        "psi": _PSI.value,
        "radius": _RADIUS.value,
        "num": _NUM.value,
    }


def _rounded(of: AverageImage) -> list[float]:
    return of.fixed_share.round(4).tolist()


def _fail(message: str) -> int:
    print(f"sg3tf.metrics.sticking: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
