"""SHA-256 digests of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

DIGESTS = "sha256.json"


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: Path, patterns: Sequence[str] = ("*",)) -> None:
    """Write the digests of the files in `folder` that match a pattern to its sha256.json."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    digests = {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def verify_checksums(folder: Path) -> str | None:
    """Compare files in `folder` with its sha256.json; return the first problem found, or None."""
    try:
        digests = dict(json.loads((folder / DIGESTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, expected in digests.items():
        try:
            found = digest_file(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != expected:
            return f"{name} is damaged: its content has changed since it was written"
    return None
