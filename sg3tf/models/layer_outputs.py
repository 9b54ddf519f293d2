"""Record the outputs of a model's layers during a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def record_outputs(layers: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Record the outputs of layers called within a `with` block.

    Args:
        layers: Keras layers, of which different ones have different names.

    Yields:
        {layer name: its last output}, in the order of the first calls.
    """
    outputs: dict[str, Any] = {}

    def call_and_record(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs[layer.name] = type(layer).call(layer, *args, **kwargs)
        return outputs[layer.name]

    distinct = dict.fromkeys(layers)
    for layer in distinct:
        layer.call = partial(call_and_record, layer)
    try:
        yield outputs
    finally:
        for layer in distinct:
            del layer.call
