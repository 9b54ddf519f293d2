"""One of several workers, with all that connects them in training, and no networks: sums that they make together.

python -m tests.helpers.reducing_worker STEPS HEARTBEAT_TIMEOUT_S       (with TF_CONFIG)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import tensorflow as tf

from trainer import loop
from trainer.distribution import Workers, make_strategy
from trainer.errors import TrainingError


def main() -> int:
    steps, heartbeat_timeout = int(sys.argv[1]), float(sys.argv[2])
    strategy = make_strategy("multiworker", heartbeat_timeout=heartbeat_timeout)
    workers, total = Workers(strategy), 0.0
    try:
        with loop.one_line_errors(Path("run"), workers):
            for step in range(steps):
                share = float(step + workers.index)
                value = strategy.experimental_distribute_values_from_function(lambda _, s=share: tf.constant(s))
                total += float(strategy.reduce("SUM", value, axis=None))
                print(f"step {step}: {total}", flush=True)
                time.sleep(0.05)
            workers.any_worker(False)  # wait for the others
    except TrainingError as error:
        print(f"sg3tf train: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
