"""An imported generator beside the official code's, where that and PyTorch happen to be there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from sg3tf.generator import Generator
from sg3tf.latents import z_from_seeds

_SEEDS = (0, 1, 2, 3)


class ParityError(ValueError):
    """Nothing to compare with."""


def report(path: Path, generator: Generator) -> dict[str, Any]:
    """How far the images of both are apart; runs code that the pickle holds.

    Args:
        path: the official pickle, which the official module `legacy` loads.
        generator: what was made of it.

    Returns:
        Seeds, and of the images, which are nominally in [-1, 1], the largest difference and the mean square's root.

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
    z = z_from_seeds(_SEEDS, config.z_dim)
    label = (
        np.eye(config.label_dim, dtype=np.float32)[np.arange(len(z)) % config.label_dim] if config.label_dim else None
    )
    ours = generator.predict(z if label is None else {"z": z, "label": label}, verbose=0)
    with torch.no_grad():
        classes = None if label is None else torch.from_numpy(label)
        theirs = official(torch.from_numpy(z), classes, noise_mode="const", force_fp32=True).numpy()
    difference = np.float64(ours) - np.transpose(theirs, (0, 2, 3, 1))
    return {
        "seeds": _SEEDS,
        "largest_difference": float(np.abs(difference).max()),
        "root_mean_square": float(np.sqrt(np.mean(difference**2))),
        "torch": torch.__version__,
    }
