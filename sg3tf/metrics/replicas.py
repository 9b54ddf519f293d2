"""Functions of arrays that all replicas of a strategy compute at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

#: Arrays by name, also of further such mappings.
Arrays = Mapping[str, Any]


def on_replicas(strategy: tf.distribute.Strategy, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one mapping of arrays for each replica, and of what is the same for all, in one graph.

    Args:
        strategy: the replicas.
        function: of the arrays of a replica as tensors, and the further arguments; called in a replica's context.

    Returns:
        (arrays of each replica, *further) -> result of each replica, for `gathered`.

    Examples:
        >>> strategy = tf.distribute.get_strategy()
        >>> double = on_replicas(strategy, lambda tensors: 2 * tensors["x"])
        >>> gathered(strategy, double([{"x": np.array([1, 2])}]))
        array([2, 4])
    """

    @tf.function(autograph=False)
    def run(values: Any, *further: Any) -> Any:
        return strategy.run(lambda tensors: function(tensors, *further), args=(values,))

    def run_on_arrays(parts: Sequence[Arrays], *further: Any) -> Any:
        def replica_values(context: Any) -> Any:
            return tf.nest.map_structure(tf.convert_to_tensor, parts[context.replica_id_in_sync_group])

        return run(strategy.experimental_distribute_values_from_function(replica_values), *further)

    return run_on_arrays


def gathered(strategy: tf.distribute.Strategy, values: Any) -> NDArray[Any]:
    """Return the rows of all replicas, in their order."""
    return np.concatenate([part.numpy() for part in strategy.experimental_local_results(values)])
