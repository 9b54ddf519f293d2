"""Compute the average power spectrum of a data set or network.

sg3tf spectra calc --data=datasets/faces --out=data.npz
sg3tf spectra calc --network=runs/00000-... --out=T.npz
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from absl import flags

from sg3tf.metrics import spectra
from sg3tf.utils import flags as shared
from sg3tf.utils.progress import Progress
from sg3tf.version import __version__

_NUM_SAMPLES_OF_NETWORK = 10_000


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    shared.define_network(options, required=False)
    shared.define_data(options)
    shared.define_num_samples(
        options, None, "Number of images; default: all images of a data set, 10000 of a network.", lower_bound=1
    )
    shared.define_seed(options, "Seed of latents and classes, for --network.")
    shared.define_batch(options, 8, "Images at a time.")
    shared.define_out(options, ".npz file to write.")
    shared.define_resolution(
        options,
        "Resolution at which to read image files (required for them), or which of several in --data to use; default: "
        "the largest.",
    )


def main(options: Any) -> None:
    """Compute the spectrum, and print the file name."""
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
    from sg3tf.models.loading import load, resolve_network, weights_digest
    from sg3tf.models.provenance import training_provenance

    network = resolve_network(options.network)  # resolve once, because a run may still be training
    G = load(network)
    if training_provenance(network, G.config.label_dim).label_scale:
        raise ValueError(
            f"network={options.network}: its label is standardized numbers, of which none can be drawn; use a network "
            "without labels, or with classes"
        )
    num = options.num_samples or _NUM_SAMPLES_OF_NETWORK
    settings = {"network": options.network, "digest": weights_digest(G), "num": num, "resolution": G.config.resolution}
    batches = spectra.generated_images(G, num, options.seed, options.batch)
    return batches, settings | {"seed": options.seed} | _versions()


def _versions() -> dict[str, str]:
    import tensorflow as tf

    return {"window": f"kaiser {spectra.KAISER_BETA}", "sg3tf": __version__, "tensorflow": tf.__version__}
