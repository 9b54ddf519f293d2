"""Fill the official PyTorch modules from a file of sg3tf.convert.to_npz. Needs PyTorch and NumPy, no TensorFlow.

With the official code on PYTHONPATH:

    from sg3tf.convert import fill_torch
    from training.networks_stylegan3 import Generator

    G = Generator(**fill_torch.options("ffhq.npz"))
    fill_torch.fill(G, "ffhq.npz")
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = "options"  # no parameter has this name: they all have a dot in theirs

_MADE_BY_CONSTRUCTORS = "_filter"


def options(path: str | Path) -> dict[str, Any]:
    """The arguments for the constructor.

    Raises:
        OSError, ValueError, KeyError: not such a file.
    """
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays[OPTIONS]))


def fill(module: Any, path: str | Path) -> None:
    """Copies parameters and buffers into a torch.nn.Module: all of them, or none.

    Args:
        module: the official generator or discriminator; on any device.
        path: the file.

    Raises:
        ValueError: names or shapes that do not fit; all of them are listed.
        OSError: the file cannot be opened.
    """
    torch = importlib.import_module("torch")

    with np.load(path, allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files if name != OPTIONS}
    shapes = {name: array.shape for name, array in given.items()}
    state = module.state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_MADE_BY_CONSTRUCTORS)}
    wrong = [
        f"{name}: {shapes.get(name, 'absent')} in the file, {wanted.get(name, 'absent')} in the module"
        for name in sorted(wanted.keys() | shapes.keys())
        if wanted.get(name) != shapes.get(name)
    ]
    if wrong:
        raise ValueError(f"{path} does not fit {type(module).__name__}:\n  " + "\n  ".join(wrong))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in given.items()}, strict=False)
