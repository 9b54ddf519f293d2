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
from sg3tf.metrics.plots import check_matplotlib, figure, legend_outside, line
from sg3tf.metrics.texture_sticking import Average, Views, average, enlarged, sheet
from sg3tf.models.loading import load

_NETWORK = flags.DEFINE_list(
    "network", None, ".keras files, checkpoint or run folders, set side by side.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Folder for the pictures.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Central latent, and what is random.", lower_bound=0, upper_bound=2**32 - 2)
_PSI = flags.DEFINE_float("psi", 1.0, "Truncation; 0: the average latent is the central one.")
_RADIUS = flags.DEFINE_float("radius", 0.5, "Of neighbourhoods, in standard deviations of w.", lower_bound=0.0)
_NUM = flags.DEFINE_integer("num", 128, "Neighbours, motions and frames.", lower_bound=2)
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
        "neighbours": average(views.neighbours(num, _RADIUS.value)),
        "strip": _strip(views.interpolation(num)),
        "moving": None,
        "returned": None,
    }
    if views.G.supports_transform:
        returned: list[Any] = []
        shown["moving"] = average(_still(views.motions(num), returned))
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
    neighbours = _row(network["neighbours"].image for network in shown)
    save_png(out / "neighbours.png", sheet(names, {"image": images, f"average of\n{num} neighbours": neighbours}))
    moving = _row(network["moving"] and network["moving"].image for network in shown)
    returned = _row(network["returned"] for network in shown)
    rows = {"image": images, f"average of\n{num} motions": moving, "the same,\nmoved back": returned}
    save_png(out / "motions.png", sheet(names, rows))
    strips = {
        name: [enlarged(network["strip"], _SIDE // 2, _STRIP)] for name, network in zip(names, shown, strict=True)
    }
    save_png(out / "slices.png", sheet([""], strips))
    _draw_fixed(out / "fixed.png", dict(zip(names, shown, strict=True)))


def _row(images: Iterator[Any]) -> list[Any]:
    return ["cannot be moved" if image is None else enlarged(image, _SIDE, _SIDE) for image in images]


def _draw_fixed(path: Path, shown: dict[str, dict[str, Any]]) -> None:
    with figure(path, 8.5, 3.2) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, key, title in zip(panels, ("neighbours", "moving"), ("neighbours in w", "input moved"), strict=True):
            for number, (name, network) in enumerate(shown.items()):
                if network[key] is not None:
                    axes.plot(network[key].frequency, network[key].fixed, label=name, **line(number))
            axes.set(title=title, xlabel="frequency (cycles per pixel)", xlim=(0, 0.5), ylim=(-0.05, 1.05))
        panels[0].set_ylabel("share of power that stays in place")
        legend_outside(drawing, panels[0])


def _line(path: str, shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": path,
        "cycles_per_pixel": shown["neighbours"].frequency.tolist(),
        "fixed_neighbours": _rounded(shown["neighbours"]),
        "fixed_moving": shown["moving"] and _rounded(shown["moving"]),
        "seed": _SEED.value,
        "psi": _PSI.value,
        "radius": _RADIUS.value,
        "num": _NUM.value,
    }


def _rounded(of: Average) -> list[float]:
    return of.fixed.round(4).tolist()


def _fail(message: str) -> int:
    print(f"sg3tf.metrics.sticking: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
