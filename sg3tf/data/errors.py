"""Exception for unusable data."""

from __future__ import annotations

import errno

#: Errors of a disk or a mounted share, not of one file, which may be intact.
_OF_DISKS = (errno.EIO, errno.ENODEV, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT)


class DataError(ValueError):
    """A data set, or an argument that describes one, is unusable; the message names it, its value and the remedy."""


def disk_error(error: Exception) -> OSError | None:
    """Return the failure of a disk or a mounted share that `error` is, or that it was raised from; None for others.

    Examples:
        >>> disk_error(OSError(errno.EIO, "Input/output error")).strerror
        'Input/output error'
        >>> disk_error(OSError(errno.ENOENT, "No such file or directory"))
    """
    system = error if isinstance(error, OSError) else error.__cause__
    return system if isinstance(system, OSError) and system.errno in _OF_DISKS else None
