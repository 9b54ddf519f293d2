"""Load a file from sg3tf.convert.to_npz into the official PyTorch modules. Needs PyTorch and NumPy, not TensorFlow.

With the official code on PYTHONPATH:

    from sg3tf.convert import to_torch
    from training.networks_stylegan3 import Generator

    G = Generator(**to_torch.options("ffhq.npz"))
    to_torch.fill(G, "ffhq.npz")
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = "options"  # cannot be a parameter name: those contain a dot

_CONSTRUCTOR_SUFFIX = "_filter"  # of names of constants that the constructors compute


def options(path: str | Path) -> dict[str, Any]:
    """Return the arguments for the official constructor.

    Raises:
        OSError, ValueError, KeyError: the file is missing, or not from sg3tf.convert.to_npz.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays[OPTIONS]))


def fill(module: Any, path: str | Path) -> None:
    """Copy parameters and buffers into a torch.nn.Module, after checking all names and shapes.

    Args:
        module: the official generator or discriminator, on any device.
        path: a file from sg3tf.convert.to_npz.

    Raises:
        ValueError: names or shapes do not match; the message lists all of them.
        OSError: the file cannot be opened.
    """
    torch = importlib.import_module("torch")

    with np.load(path, allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files if name != OPTIONS}
    shapes = {name: array.shape for name, array in given.items()}
    state = module.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_CONSTRUCTOR_SUFFIX)}
    wrong = [
        f"{name}: {shapes.get(name, 'absent')} in the file, {expected.get(name, 'absent')} in the module"
        for name in sorted(expected.keys() | shapes.keys())
        if expected.get(name) != shapes.get(name)
    ]
    if wrong:
        raise ValueError(f"{path} does not fit {type(module).__name__}:\n  " + "\n  ".join(wrong))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in given.items()}, strict=False)
