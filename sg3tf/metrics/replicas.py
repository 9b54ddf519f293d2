"""Run functions of arrays on all replicas of a strategy in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics.samples import Index, padded_batches

#: Arrays by name; may be nested.
Arrays = Mapping[str, Any]


def run_on_replicas(strategy: tf.distribute.Strategy, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a version of `function` that runs on all replicas in one graph.

    Args:
        strategy: the replicas.
        function: (arrays of a replica as tensors, *shared arguments) -> result; called in the replica's context.

    Returns:
        (arrays of each replica, *shared arguments) -> results of all replicas, for `gather`.

    Examples:
        >>> strategy = tf.distribute.get_strategy()
        >>> double = run_on_replicas(strategy, lambda tensors: 2 * tensors["x"])
        >>> gather(strategy, double([{"x": np.array([1, 2])}]))
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


def results_of_batches(
    strategy: tf.distribute.Strategy,
    function: Callable[..., Any],
    arrays: Callable[[Index], Arrays],
    positions: range,
    batch: int,
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield (start, stop, results of the samples `start` to `stop` - 1), batch by batch.

    Args:
        strategy: the replicas.
        function: arrays of a replica as tensors -> one row per sample; called in the replica's context.
        arrays: sample positions -> their arrays.
        positions: the samples, consecutive.
        batch: samples per batch on each replica.
    """
    run, replicas = run_on_replicas(strategy, function), strategy.num_replicas_in_sync
    for start, stop, index in padded_batches(positions.start, positions.stop, batch * replicas):
        parts = [arrays(part) for part in np.split(index, replicas)]
        yield start, stop, gather(strategy, run(parts))[: stop - start]


def gather(strategy: tf.distribute.Strategy, values: Any) -> NDArray[Any]:
    """Concatenate the rows of all replicas, in order."""
    return np.concatenate([part.numpy() for part in strategy.experimental_local_results(values)])
