"""Convert an official network pickle to .keras files, without PyTorch and without running the code in the pickle.

sg3tf convert from-pickle --network=stylegan3-t-ffhq-1024x1024.pkl --outdir=ffhq --license="see its README"
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from sg3tf.convert.official_network import NETWORKS, OfficialNetwork, UnsupportedNetworkError
from sg3tf.latents import labels_in_turn, z_from_seeds
from sg3tf.models import hub
from sg3tf.models.configs import ConfigError, DiscriminatorConfig
from sg3tf.utils import flags as shared
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.files import atomic_directory
from sg3tf.version import __version__

if TYPE_CHECKING:
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.generators import Generator

UNKNOWN_LICENSE = "unspecified; see where the file came from"
W_AVG_SEEDS = 10_000
_W_AVG = "mapping.w_avg"
_PARITY_SEEDS = (0, 1, 2, 3)


class ParityError(ValueError):
    """The official code cannot be imported for a comparison."""


def convert_pickle(
    path: str | Path,
    out: str | Path,
    names: Sequence[str] = ("G_ema",),
    license: str = UNKNOWN_LICENSE,
    parity: bool = False,
) -> Path:
    """Write the networks of an official pickle as .keras files, with metadata.json.

    Args:
        path: the pickle; see `sg3tf.convert.nvidia_pickle.read`.
        out: the folder to write, atomically.
        names: networks to convert, of G, D and G_ema.
        license: license of the weights, for the metadata.
        parity: compare images with those of the official code; this runs the code in the pickle.

    Returns:
        The folder. If several networks are requested, unsupported ones are left out, with the reason in metadata.json,
        except for G_ema if `parity` needs it.

    Raises:
        PickleError, UnsupportedNetworkError, ConfigError, OSError: see `sg3tf.convert.nvidia_pickle.read`.
        ParameterMismatchError: arrays do not match the network that the options describe.
        ParityError: see `compare_images`.
        FileExistsError: `out` already exists.
    """
    # Imported here and below, so that --help does not load TensorFlow.
    import keras
    import tensorflow as tf

    from sg3tf.convert.weights import ParameterMismatchError
    from sg3tf.models.loading import load

    path = Path(path)
    with atomic_directory(Path(out)) as folder:
        metadata: dict[str, Any] = {
            "source": {"file": path.name, "sha256": digest_file(path)},
            "license": license,
            "networks": {},
            "skipped": {},
            "versions": {
                "sg3tf": __version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
        for name in names:  # one network in memory at a time
            try:
                metadata["networks"][name] = _convert_network(path, name, folder)
            except (UnsupportedNetworkError, ConfigError) as error:
                if len(names) == 1 or (parity and name == "G_ema"):
                    raise type(error)(f"{path}: {error}") from error
                metadata["skipped"][name] = str(error)
            except ParameterMismatchError as error:
                raise ParameterMismatchError(f"{path}: {error}") from error
            gc.collect()  # Keras models are in reference cycles
        if not metadata["networks"]:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in metadata["skipped"].items())
            raise UnsupportedNetworkError(f"{path}: none of its networks exists here ({reasons})")
        if parity:
            metadata["parity"] = compare_images(path, load(folder / "G_ema.keras"))
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    return Path(out)


def _convert_network(path: Path, name: str, folder: Path) -> dict[str, Any]:
    """Write one network and return its metadata."""
    from sg3tf.convert import nvidia_pickle

    network = nvidia_pickle.read(path, name)
    config = network.config
    build_model(network).save(folder / f"{name}.keras")
    estimated = {} if has_w_avg(network) else {"w_avg": f"estimated from {W_AVG_SEEDS} latents"}
    return {
        "origin": network.origin,
        "class_name": network.class_name,
        "options": network.options,
        "training_set_options": network.training_set_options,
        "config": {"type": type(config).__name__, **dataclasses.asdict(config)},
        **estimated,
    }


def build_model(network: OfficialNetwork) -> Generator | Discriminator:
    """Build the model of a network read from a file; it computes in float32.

    If a generator was stored without its average style vector, it is estimated from W_AVG_SEEDS latents.

    Raises:
        ParameterMismatchError: arrays do not match the network that the options describe.
    """
    from sg3tf.convert.weights import load_arrays
    from sg3tf.models.discriminator import Discriminator
    from sg3tf.models.generators import build_generator

    config = network.config
    if isinstance(config, DiscriminatorConfig):
        D = Discriminator(config, dtype="float32")
        load_arrays(D, network.arrays)
        return D
    G = build_generator(config, dtype="float32")
    if has_w_avg(network):
        load_arrays(G, network.arrays)
    else:
        load_arrays(G, {**network.arrays, _W_AVG: np.zeros([config.w_dim], np.float32)})
        w_avg: Any = G.mapping_network.w_avg
        w_avg.assign(_estimated_w_avg(G))
    return G


def has_w_avg(network: OfficialNetwork) -> bool:
    """Return False for a generator that was stored without its average style vector."""
    return network.origin != "PyTorch" or network.class_name != "Generator" or _W_AVG in network.arrays


def _estimated_w_avg(G: Generator) -> Any:
    """Average w over fixed latents, with every label equally often."""
    import tensorflow as tf

    z = z_from_seeds(range(W_AVG_SEEDS), G.config.z_dim)
    label = labels_in_turn(W_AVG_SEEDS, G.config.label_dim) if G.config.label_dim else None
    return tf.reduce_mean(G.mapping_network(z, label=label), axis=0)


def compare_images(path: Path, generator: Generator) -> dict[str, Any]:
    """Compare images of a converted generator with those of the official code. Runs the code in the pickle.

    Args:
        path: the official pickle; the official module `legacy` loads it.
        generator: the generator converted from it.

    Returns:
        Seeds, and the maximum and RMS differences of the images, which are nominally in [-1, 1].

    Raises:
        ParityError: PyTorch or the official code cannot be imported.
    """
    try:
        torch, legacy = importlib.import_module("torch"), importlib.import_module("legacy")
    except ImportError as error:
        raise ParityError(f"no parity report: {error}; put PyTorch and the official code on PYTHONPATH") from error
    with path.open("rb") as file:
        official = legacy.load_network_pkl(file)["G_ema"].eval().float()
    config = generator.config
    z = z_from_seeds(_PARITY_SEEDS, config.z_dim)
    inputs: Any = z
    label = None
    if config.label_dim:
        one_hot = labels_in_turn(len(z), config.label_dim)
        inputs, label = {"z": z, "label": one_hot}, torch.from_numpy(one_hot)
    images = generator.predict(inputs, verbose=0)
    with torch.no_grad():
        expected = official(torch.from_numpy(z), label, noise_mode="const", force_fp32=True).numpy()
    difference = np.float64(images) - np.transpose(expected, (0, 2, 3, 1))
    return {
        "seeds": _PARITY_SEEDS,
        "largest_difference": float(np.abs(difference).max()),
        "root_mean_square": float(np.sqrt(np.mean(difference**2))),
        "torch": torch.__version__,
    }


# --- Command line -----------------------------------------------------------------------------------------------------


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    shared.define_network(
        options,
        "Pickle to convert, from stylegan3, stylegan2-ada-pytorch, stylegan2-ada, stylegan2 or stylegan, or torch.save "
        "file with StyleGAN2 state dicts g_ema, g and d; or https://HOST/NAME.pkl#sha256=DIGEST.",
    )
    shared.define_outdir(
        options, "Folder to write, which must not exist: NAME.keras for each network, and metadata.json."
    )
    flags.DEFINE_list("names", ["G_ema"], f"Networks to convert, of {', '.join(NETWORKS)}.", flag_values=options)
    flags.DEFINE_string(
        "license", UNKNOWN_LICENSE, "License of the weights, recorded in metadata.json.", flag_values=options
    )
    flags.DEFINE_bool(
        "parity",
        False,
        "Compare images of G_ema with those of the official code; PyTorch and that code must be importable. This runs "
        "the code in the pickle: use it only with a file that you trust.",
        flag_values=options,
    )


def main(options: flags.FlagValues) -> None:
    """Convert one pickle, and print the folder; skipped networks are reported on stderr."""
    if not options.names or set(options.names) - set(NETWORKS):
        raise ValueError(f"--names={','.join(options.names)}: give some of {', '.join(NETWORKS)}")
    if options.parity and "G_ema" not in options.names:
        raise ValueError("--parity compares images of G_ema: add it to --names")
    path = hub.fetch(options.network) if hub.is_address(options.network) else Path(options.network)
    folder = convert_pickle(path, options.outdir, options.names, options.license, options.parity)
    for name, reason in json.loads((folder / "metadata.json").read_text())["skipped"].items():
        print(f"{name} is skipped: {reason}", file=sys.stderr)
    print(folder)
