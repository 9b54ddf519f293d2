"""Average power spectra of data sets and generators, and figures of them.

sg3tf spectra calc --data=datasets/faces --out=data.npz
sg3tf spectra calc --network=runs/00000-stylegan3-t-faces-batch32-gamma2 --out=T.npz
sg3tf spectra compare data.npz T.npz --out=compare.png
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from sg3tf.metrics import plots, spectra
from sg3tf.utils import flags as shared
from sg3tf.utils.json_text import to_json
from sg3tf.utils.progress import Progress
from sg3tf.version import __version__

_NUM_SAMPLES_OF_NETWORK = 10_000


# --- calc ------------------------------------------------------------------------------------------------------------

# Only this command imports TensorFlow, which takes longer than plotting a figure.


def calc_define_flags(options: flags.FlagValues) -> None:
    """Define the flags of calc."""
    shared.define_network(options, required=False)
    shared.define_data(options)
    shared.define_num_samples(
        options, None, "Number of images; default: all images of a data set, 10000 of a network.", lower_bound=1
    )
    shared.define_seed(options, "Seed of latents and classes, for --network.")
    shared.define_batch(options, 8, "Images at a time.")
    shared.define_out(options, ".npz file to write.")
    shared.define_resolution(options, "Resolution to use if the data set has several; default: the largest.")


def calc_main(options: Any) -> None:
    """Compute the average power spectrum of a data set or network.

    sg3tf spectra calc --data=datasets/faces --out=data.npz
    sg3tf spectra calc --network=runs/00000-... --out=T.npz
    """
    out = shared.check_out(options.out, ".npz")
    if (options.data is None) == (options.network is None):
        raise ValueError(f"data={options.data}, network={options.network}: give one of --data and --network")
    if options.network is not None and options.resolution is not None:
        raise ValueError(f"resolution={options.resolution}: a network has its own; leave it out")
    batches, settings = _open_network(options) if options.data is None else _open_data(options)
    with Progress(settings["num"]) as progress:

        def count_batches() -> Iterator[Any]:
            for images in batches:
                yield images
                progress.update(len(images))

        spectra.average_spectrum(count_batches(), settings).save(out)
    print(out)


def _open_data(options: Any) -> tuple[Iterator[Any], dict[str, Any]]:
    """Return batches of uint8 images, and everything that is needed to compute them again."""
    from sg3tf.metrics.samples import open_data

    dataset = open_data(options.data, resolution=options.resolution)
    num = options.num_samples or len(dataset)
    if num > len(dataset):
        raise ValueError(f"num_samples={num}: {options.data} has {len(dataset)} images; give that at most")
    settings = {"data": options.data, "digest": dataset.digest, "num": num, "resolution": dataset.resolution}
    return spectra.data_images(dataset, num, options.batch), settings | _versions()


def _open_network(options: Any) -> tuple[Iterator[Any], dict[str, Any]]:
    """Return batches of uint8 images, and everything that is needed to compute them again."""
    from sg3tf.models.loading import load, weights_digest

    G = load(options.network)
    num = options.num_samples or _NUM_SAMPLES_OF_NETWORK
    settings = {"network": options.network, "digest": weights_digest(G), "num": num, "resolution": G.config.resolution}
    batches = spectra.generated_images(G, num, options.seed, options.batch)
    return batches, settings | {"seed": options.seed} | _versions()


def _versions() -> dict[str, str]:
    import tensorflow as tf

    return {"window": f"kaiser {spectra.KAISER_BETA}", "sg3tf": __version__, "tensorflow": tf.__version__}


# --- Figures ---------------------------------------------------------------------------------------------------------


def heatmap_define_flags(options: flags.FlagValues) -> None:
    """Define the flags of heatmap and slices."""
    shared.define_out(options, ".png file to write.")
    flags.DEFINE_float("low", None, "Lowest power to show, in dB; default: the spectra's minimum.", flag_values=options)
    flags.DEFINE_float(
        "high", None, "Highest power to show, in dB; default: the spectra's maximum.", flag_values=options
    )


slices_define_flags = heatmap_define_flags


def heatmap_main(options: Any, files: list[str]) -> None:
    """Plot spectra written by calc as heat maps.

    sg3tf spectra heatmap data.npz T.npz --out=heatmap.png
    """
    out = shared.check_out(options.out, ".png")
    plots.plot_heatmaps(out, _load(files), *_power_limits(options))
    print(out)


def slices_main(options: Any, files: list[str]) -> None:
    """Plot slices through spectra written by calc.

    sg3tf spectra slices data.npz T.npz --out=slices.png
    """
    out = shared.check_out(options.out, ".png")
    plots.plot_slices(out, _load(files), *_power_limits(options))
    print(out)


def compare_define_flags(options: flags.FlagValues) -> None:
    """Define the flags of compare."""
    shared.define_out(options, ".png file to write.")


def compare_main(options: Any, files: list[str]) -> None:
    """Plot the differences of spectra from the first one, and print one JSON line per spectrum.

    sg3tf spectra compare data.npz T.npz --out=compare.png
    """
    out = shared.check_out(options.out, ".png")
    powers = _load(files, at_least=2)
    resolution = len(next(iter(powers.values()))) // spectra.INTERPOLATION
    plots.plot_comparison(out, powers, resolution)
    reference, *others = zip(files, spectra.compare_spectra(powers, resolution).values(), strict=True)
    for file, (frequency, _, difference) in others:
        below_nyquist = difference[frequency <= 0.5]
        line = {
            "file": file,
            "reference": reference[0],
            "rms_db": float(np.sqrt(np.mean(below_nyquist**2))),
            "cycles_per_pixel": frequency.tolist(),
            "difference_db": difference.round(4).tolist(),
        }
        print(to_json(line))


def _load(files: list[str], at_least: int = 1) -> dict[str, Any]:
    plots.check_matplotlib()
    if len(files) < at_least:
        raise ValueError(f"{len(files)} files: give at least {at_least}, from sg3tf spectra calc")
    return spectra.load_normalized([Path(file) for file in files])


def _power_limits(options: Any) -> tuple[float | None, float | None]:
    low, high = options.low, options.high
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low={low}: give less than high={high}")
    return low, high
