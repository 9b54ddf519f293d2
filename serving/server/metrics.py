"""Counters of the server, in Prometheus' format."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from serving.server.errors import RequestError

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server.

    Args:
        in_flight: returns the number of predictions running or waiting.
        newest_version: returns the version that answers requests without a version.
    """

    def __init__(self, in_flight: Callable[[], int], newest_version: Callable[[], int]):
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sg3tf_serving_requests", "Predictions by outcome.", ["api", "code"], registry=self._registry
        )
        self._seconds = Histogram(
            "sg3tf_serving_request_seconds",
            "Seconds from the arrival of a request to its answer.",
            ["api"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "sg3tf_serving_request_rows", "Batch size of answered predictions.", buckets=_ROWS, registry=self._registry
        )
        gauges = {
            "sg3tf_serving_in_flight": ("Predictions running or waiting.", in_flight),
            "sg3tf_serving_newest_version": ("Version that answers requests without a version.", newest_version),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self._registry).set_function(value)

    @contextmanager
    def prediction(self, api: str) -> Iterator[None]:
        """Count and time one prediction; `api` is "grpc" or "rest"."""
        start = time.monotonic()
        code = grpc.StatusCode.INTERNAL
        try:
            yield
            code = grpc.StatusCode.OK
        except RequestError as error:
            code = error.code
            raise
        finally:
            self.observe(api, code, time.monotonic() - start)

    def observe(self, api: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one prediction that took `seconds`."""
        self._requests.labels(api, code.name).inc()
        self._seconds.labels(api).observe(seconds)

    def observe_rows(self, rows: int) -> None:
        """Record the batch size of an answered prediction."""
        self._rows.observe(rows)

    def text(self) -> bytes:
        """Return all metrics in the exposition format."""
        return generate_latest(self._registry)
