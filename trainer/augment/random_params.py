"""Random parameters of the augmentation: a row for every image, a column for every parameter.

Like latents, they are drawn in NumPy for the global batch and split with it, so they do not depend on the number of
replicas, the device or the compiler.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BANDS = 4

_BANDS = tuple(f"band{i}" for i in range(BANDS))
#: Transforms that are active in an image independently of each other.
_MOVES = ("xflip", "rotate90", "xint", "scale", "pre_rotate", "aniso", "post_rotate", "xfrac")
_COLORS = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_EVENTS = (*_MOVES, *_COLORS, *_BANDS, "noise", "cutout")
_UNIFORM_MOVES = ("xflip", "rotate90", "xint_x", "xint_y", "pre_rotate", "post_rotate")
_UNIFORM = (*_UNIFORM_MOVES, "lumaflip", "hue", "cutout_x", "cutout_y", "noise_key0", "noise_key1")
_NORMAL = ("scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation", *_BANDS, "noise")

#: A new column changes all parameters of a run, even of one resumed from an older checkpoint.
COLUMNS = (*(f"{event}?" for event in _EVENTS), *_UNIFORM, *_NORMAL)
NORMAL_COLUMNS = frozenset(_NORMAL)


def sample_params(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Parameters of `count` images, float32 [count, len(COLUMNS)]: uniform in [0, 1), then standard normal."""
    uniform = rng.random([count, len(COLUMNS) - len(_NORMAL)], np.float32)
    normal = rng.standard_normal([count, len(_NORMAL)], np.float32)
    return np.concatenate([uniform, normal], axis=1)
