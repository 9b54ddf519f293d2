"""Exception for unusable data."""

from __future__ import annotations

import errno

#: Errors of a disk, a mounted share or the whole system, not of one file, which may be intact.
_OF_DISKS = {
    *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ECONNABORTED),
    *(getattr(errno, name) for name in ("EREMOTEIO", "EUCLEAN") if hasattr(errno, name)),  # of Linux
}


class DataError(ValueError):
    """A data set, or an argument that describes one, is unusable; the message names it, its value and the remedy."""


class ChangedError(DataError):
    """The source was changed while it was in use, so that its listing no longer holds."""


def disk_error(error: Exception) -> OSError | None:
    """Return the failure of a disk, share or system that `error` is, or that it was raised from; None for others.

    Examples:
        >>> disk_error(OSError(errno.EIO, "Input/output error")).strerror
        'Input/output error'
        >>> disk_error(OSError(errno.ENOENT, "No such file or directory"))
    """
    system = error if isinstance(error, OSError) else error.__cause__
    return system if isinstance(system, OSError) and system.errno in _OF_DISKS else None
