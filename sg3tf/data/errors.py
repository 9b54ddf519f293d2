"""Exception for unusable data."""

from __future__ import annotations


class DataError(ValueError):
    """A data set, or an argument that describes one, is unusable; the message names it, its value and the remedy."""
