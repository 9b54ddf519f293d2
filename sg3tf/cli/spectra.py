"""python -m sg3tf.cli.spectra: average power spectra of data and of generators, and figures of them.

python -m sg3tf.cli.spectra calc --data=datasets/faces --out=data.npz
python -m sg3tf.cli.spectra calc --network=runs/00000-stylegan3-t-faces-batch32-gamma2 --out=T.npz
python -m sg3tf.cli.spectra compare data.npz T.npz --out=compare.png
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
from tqdm import tqdm

import sg3tf
from sg3tf.metrics import plots, spectra

_DATA = flags.DEFINE_string("data", None, "calc: data set, as --data of trainer.main.")
_RESOLUTION = flags.DEFINE_integer("resolution", None, "calc --data: where there are several; default: the largest.")
_NETWORK = flags.DEFINE_string("network", None, "calc: .keras file, checkpoint folder or run folder.")
_NUM = flags.DEFINE_integer("num", None, "calc: images; default: all of the data, 10000 of a network.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "calc --network: of latents and classes.", lower_bound=0)
_BATCH = flags.DEFINE_integer("batch", 8, "calc: images at a time.", lower_bound=1)
_LOW = flags.DEFINE_float("low", None, "heatmap, slices: lowest power that is shown, in dB; default: the lowest.")
_HIGH = flags.DEFINE_float("high", None, "heatmap, slices: highest power that is shown, in dB; default: the highest.")
_OUT = flags.DEFINE_string("out", None, "File to write: .npz of calc, else .png.", required=True)

_NUM_OF_NETWORK = 10_000


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit status."""
    command, files = argv[1] if len(argv) > 1 else None, argv[2:]
    try:
        if command not in _COMMANDS:
            raise ValueError(f"command {command!r}: give one of {', '.join(_COMMANDS)}")
        run, suffix = _COMMANDS[command]
        run(files, _checked_out(suffix))
    except (OSError, ValueError, ArithmeticError) as error:
        print(f"sg3tf.metrics.spectra: {error}", file=sys.stderr)
        return 1
    return 0


def _calc(files: list[str], out: Path) -> None:
    if files:
        raise ValueError(f"unexpected argument {files[0]!r}: calc takes --data or --network")
    if (_DATA.value is None) == (_NETWORK.value is None):
        raise ValueError(f"data={_DATA.value}, network={_NETWORK.value}: calc takes one of --data and --network")
    if _NETWORK.value is not None and _RESOLUTION.value is not None:
        raise ValueError(f"resolution={_RESOLUTION.value}: a network has its own; leave it out")
    batches, settings = _images()
    with tqdm(total=settings["num"], unit=" images", file=sys.stderr, delay=0.1) as bar:

        def counted() -> Iterator[Any]:
            for images in batches:
                yield images
                bar.update(len(images))

        spectra.average_spectrum(counted(), settings).save(out)
    print(out)


def _images() -> tuple[Iterator[Any], dict[str, Any]]:
    """Batches of uint8 images, and everything that it takes to make them again."""
    import tensorflow as tf

    versions = {"window": f"kaiser {spectra.KAISER_BETA}", "sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}
    if _DATA.value is not None:
        from sg3tf.metrics.samples import open_data

        dataset = open_data(_DATA.value, resolution=_RESOLUTION.value)
        num = _NUM.value or len(dataset)
        if num > len(dataset):
            raise ValueError(f"num={num}: {_DATA.value} has {len(dataset)} images; give that at most")
        source = {"data": _DATA.value, "digest": dataset.digest, "num": num, "resolution": dataset.resolution}
        return spectra.data_images(dataset, num, _BATCH.value), source | versions

    from sg3tf.models.loading import load, weights_digest

    G = load(_NETWORK.value)
    num, seed = _NUM.value or _NUM_OF_NETWORK, _SEED.value
    source = {"network": _NETWORK.value, "digest": weights_digest(G), "num": num, "resolution": G.config.resolution}
    return spectra.generated_images(G, num, seed, _BATCH.value), source | {"seed": seed} | versions


def _heatmap(files: list[str], out: Path) -> None:
    plots.plot_heatmaps(out, _load(files), *_limits())
    print(out)


def _slices(files: list[str], out: Path) -> None:
    plots.plot_slices(out, _load(files), *_limits())
    print(out)


def _compare(files: list[str], out: Path) -> None:
    """Draws, and prints a line for each spectrum but the first."""
    powers = _load(files, at_least=2)
    resolution = len(next(iter(powers.values()))) // spectra.INTERPOLATION
    plots.plot_comparison(out, powers, resolution)
    reference, *others = zip(files, spectra.compare_spectra(powers, resolution).values(), strict=True)
    for file, (frequency, _, difference) in others:
        inside = difference[frequency <= 0.5]
        line = {
            "file": file,
            "reference": reference[0],
            "rms_db": float(np.sqrt(np.mean(inside**2))),
            "cycles_per_pixel": frequency.tolist(),
            "difference_db": difference.round(4).tolist(),
        }
        print(json.dumps(line))


def _load(files: list[str], at_least: int = 1) -> dict[str, Any]:
    plots.check_matplotlib()
    if len(files) < at_least:
        raise ValueError(f"{len(files)} files: give at least {at_least}, as calc writes them")
    return spectra.load_normalized([Path(file) for file in files])


def _limits() -> tuple[float | None, float | None]:
    low, high = _LOW.value, _HIGH.value
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low={low}: give less than high={high}")
    return low, high


def _checked_out(suffix: str) -> Path:
    out = Path(_OUT.value)
    if out.suffix != suffix:
        raise ValueError(f"out={out}: give a name that ends with {suffix}")
    if not out.parent.is_dir():
        raise ValueError(f"out={out}: there is no folder {out.parent}; make it")
    return out


_COMMANDS = {
    "calc": (_calc, ".npz"),
    "compare": (_compare, ".png"),
    "heatmap": (_heatmap, ".png"),
    "slices": (_slices, ".png"),
}

if __name__ == "__main__":
    app.run(main)
