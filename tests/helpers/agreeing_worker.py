"""One of several workers, each with two devices: what they agree on, without networks.

python -m tests.helpers.agreeing_worker                                 (with TF_CONFIG)
"""

from __future__ import annotations

from unittest import mock

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy

from trainer.distribution import Workers, make_strategy
from trainer.errors import OptionError


def devices(_self: object, _resolver: object, worker_device: str) -> tuple[tuple[str, ...], str]:
    """The devices of a worker, as if the logical ones of its CPU were GPUs."""
    return tuple(f"{worker_device}/device:CPU:{number}" for number in range(2)), "CPU"


def main() -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    with mock.patch.object(extended, "_initialize_local_devices", devices):
        strategy = make_strategy("multiworker")
    workers = Workers(strategy)
    print(strategy.num_replicas_in_sync, "replicas", flush=True)
    print(workers.broadcast_from_chief(2**40 + 7 - workers.index) - 2**40, flush=True)
    print([workers.any_worker(flag) for flag in (False, workers.is_chief, not workers.is_chief)], flush=True)
    workers.require_equal(5, "lengths")
    try:
        workers.require_equal(5 + workers.index, "lengths")
    except OptionError as error:
        print(error, flush=True)
    workers.any_worker(False)  # wait for the other


if __name__ == "__main__":
    main()
