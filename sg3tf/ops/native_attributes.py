"""Resamplings as attributes of native operations, and back (custom_ops/resampling/attributes.h)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.ops.geometry import Axis, Filter, Resampling


def native_attributes(how: Resampling) -> dict[str, Any]:
    """Attributes of Sg3>Upfirdn2d."""
    y, x = how.axes
    return {
        "up": [y.up, x.up],
        "down": [y.down, x.down],
        "pad": [y.before, y.after, x.before, x.after],
        "terms": len(how.filter.y),
        "taps_y": encode(how.filter.y),
        "taps_x": encode(how.filter.x),
    }


def native_resampling(op: Any, prefix: str = "", *, up: str = "", down: str = "", pad: str = "") -> Resampling:
    """The resampling that attributes of `op` describe; those without a name have their defaults."""
    terms = op.get_attr(f"{prefix}terms")
    taps_y, taps_x = (decode(op.get_attr(f"{prefix}taps_{axis}")).reshape(terms, -1) for axis in "yx")
    ups, downs = (op.get_attr(name) if name else (1, 1) for name in (up, down))
    pads = op.get_attr(pad) if pad else (0, 0, 0, 0)
    y = Axis(ups[0], downs[0], pads[0], pads[1], taps_y.shape[1])
    x = Axis(ups[1], downs[1], pads[2], pads[3], taps_x.shape[1])
    return Resampling((y, x), Filter(taps_y, taps_x))


def encode(values: Any) -> bytes:
    """Floating point attributes hold float32 only: so float64 numbers travel as bytes."""
    return np.asarray(values, "<f8").tobytes()


def decode(data: bytes) -> NDArray[np.float64]:
    """The numbers that `encode` was given, in one row."""
    return np.frombuffer(data, "<f8")
