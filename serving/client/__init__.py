"""A client of a served generator: `Client` for programs, `python -m serving.client` for people."""

from serving.client.connection import Client, ServingError

__all__ = ["Client", "ServingError"]
