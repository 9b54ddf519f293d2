"""The arithmetic that an exported network computes in."""

from __future__ import annotations

from typing import Any

#: Name of a precision: the Keras policy of the network; 16 bits are for the four highest resolutions (docs/adr/0010).
PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16"}


def in_precision(generator: Any, precision: str) -> Any:
    """The generator itself where it computes so already, else a twin with the same weights.

    Args:
      generator: `sg3tf.Generator`, built.
      precision: "fp32" or "bf16".

    Raises:
      ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: use {' or '.join(map(repr, PRECISIONS))}")
    return generator.in_dtype(PRECISIONS[precision])
