"""A client of a served generator: `Client` for programs, `python -m serving.client` for people."""

from serving.client.connection import Client, ServingError
from serving.client.retries import Retries

__all__ = ["Client", "Retries", "ServingError"]
