"""Whether the files of a folder are as they were written: their digests, in a file beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

DIGESTS = "sha256.json"


def seal(folder: Path) -> None:
    """Writes the digests of all files in `folder`."""
    digests = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def problem(folder: Path) -> str | None:
    """What is wrong with a sealed folder; None if nothing is."""
    try:
        digests = dict(json.loads((folder / DIGESTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, expected in digests.items():
        try:
            found = _digest(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != expected:
            return f"{name} is damaged: its content has changed since it was written"
    return None


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
