"""Files of detectors: where they were published, whether they are there, and whether they are the published ones."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path


class DetectorError(ValueError):
    """A detector that cannot be loaded; one line that says what to do."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A file that others published.

    Attributes:
        name: of the file.
        address: where it can be downloaded, or an archive that holds it.
        size: bytes of what is at the address.
        sha256: of the file, as many digits as are known; None: not known here.
        archive: name of the archive at the address; None: the file itself is there.
    """

    name: str
    address: str
    size: int
    sha256: str | None = None
    archive: str | None = None


def find(folder: Path, published: Published) -> Path:
    """Where the file is.

    Raises:
        DetectorError: it is absent.
    """
    path = folder / published.name
    if path.is_file():
        return path
    source = f"it is in {published.archive}" if published.archive else "it is published"
    sha256 = f"SHA-256 {published.sha256}{'...' if len(published.sha256) < 64 else ''}, " if published.sha256 else ""
    raise DetectorError(
        f"{published.name} is not in the detector folder {str(folder)!r}: {source} at {published.address} "
        f"({sha256}{published.size:,} bytes); nothing is downloaded, put it there"
    )


def sha256(path: Path, published: Published) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        DetectorError: it is not the published file.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if published.sha256 and not digest.startswith(published.sha256):
        raise DetectorError(
            f"{path}: SHA-256 is {digest}, but the published file's begins with {published.sha256}: "
            f"download it again from {published.address}"
        )
    return digest
