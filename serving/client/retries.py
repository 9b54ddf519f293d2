"""Asking again when the server was busy or gone for a moment."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
import numpy as np

# Every request is a pure function of its inputs, so asking again is always harmless. It helps only where the next
# answer may differ: nobody there or a broken connection, and a full queue or too many requests in flight. Bad input
# and failures inside the model stay what they are, and after the deadline there is no time left.
REPEATED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

Answer = TypeVar("Answer")


class Retries:
    """A bounded number of attempts, with waits that double and are spread by half of themselves.

    Args:
      attempts: at most, the first one included; 1 never repeats.
      first_wait_s: before the second attempt, in seconds, on average.
      seed: of the spread; None is another one in every process, so that clients do not return all at once.

    Raises:
      ValueError: less than one attempt.
    """

    def __init__(self, attempts: int = 4, first_wait_s: float = 0.2, seed: int | None = None):
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: give at least 1")
        self._attempts, self._first_wait_s = attempts, first_wait_s
        self._rng = np.random.default_rng(seed)

    def waits(self) -> Iterator[float]:
        """Seconds between one attempt and the next."""
        for number in range(self._attempts - 1):
            yield self._first_wait_s * 2**number * self._rng.uniform(0.5, 1.5)

    def run(self, send: Callable[[float], Answer], timeout_s: float) -> Answer:
        """The first answer.

        Args:
          send: one attempt, given the seconds that are left to it.
          timeout_s: of all attempts and waits together.

        Raises:
          grpc.RpcError: of the last attempt; at once where repeating cannot help or would end too late.
        """
        end = time.monotonic() + timeout_s
        for wait in self.waits():
            try:
                return send(end - time.monotonic())
            except grpc.RpcError as error:
                if error.code() not in REPEATED or time.monotonic() + wait >= end:
                    raise
            time.sleep(wait)
        return send(end - time.monotonic())
