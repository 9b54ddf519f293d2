"""Random moments at which tests kill processes, from a seed that is printed."""

from __future__ import annotations

import os
import random
import time

SEED_VARIABLE = "KILL_SEED"


def random_delay(at_most_s: float) -> float:
    """Return a random number of seconds, and print it with the seed that repeats it.

    The environment variable KILL_SEED sets the seed.
    """
    seed = int(os.environ.get(SEED_VARIABLE, time.time_ns() % 2**32))
    delay = random.Random(seed).uniform(0, at_most_s)
    print(f"kills after {delay:.3f} s; repeat with {SEED_VARIABLE}={seed}")
    return delay
