"""Exception for unusable data."""

from __future__ import annotations

import errno

#: Errors of a disk or a mounted share, not of one file, which may be intact.
OF_DISKS = (errno.EIO, errno.ENODEV, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT)


class DataError(ValueError):
    """A data set, or an argument that describes one, is unusable; the message names it, its value and the remedy."""
