"""Errors of disks, shares and systems are told from those of single files."""

from __future__ import annotations

import errno
import os

import pytest

from sg3tf.data.errors import disk_error

OF_DISKS = ["EIO", "ENXIO", "EREMOTEIO", "EUCLEAN", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET", "EMFILE", "ENOMEM"]


@pytest.mark.parametrize("name", OF_DISKS)
def test_errors_of_disks(name: str) -> None:
    failure = OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
    assert disk_error(failure) is failure


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), OSError("broken data"), ValueError()])
def test_errors_of_files(error: Exception) -> None:
    assert disk_error(error) is None
