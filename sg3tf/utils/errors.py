"""The base of errors that state a reason and its remedy."""


class ExpectedError(Exception):
    """Failure with a known reason, such as a broken installation; commands print its message, not a traceback."""
