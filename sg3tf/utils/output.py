"""Output to a terminal or pipe that may be gone, such as a pipe to `tee` after Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def ignoring_lost_output() -> Iterator[None]:
    """Context for printing alone, which flushes what was printed, and ignores that it cannot be written.

    A reader that is gone (EPIPE, EIO) does not return; a disk that is full may have room for later lines.
    """
    try:
        yield
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
            discard_lost_output()


def discard_lost_output() -> None:
    """Send stdout and stderr to /dev/null if they cannot be written, so that no later flush fails, as that at exit."""
    for stream in (sys.stdout, sys.stderr):  # None if closed before the start
        try:
            if stream:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
