"""Damaged files, and the number and the seed of injected faults."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

SEED = int(os.environ.get("SG3TF_FAULTS_SEED", "0"))


def cases(few: int) -> int:
    """Return SG3TF_FAULTS, the number of cases of each kind, or `few` without it."""
    return int(os.environ.get("SG3TF_FAULTS", few))


def cut(file: Path) -> None:
    """Remove the last 100 bytes of the file."""
    file.write_bytes(file.read_bytes()[:-100])


def flips(file: Path, few: int) -> Iterator[int]:
    """Flip a bit of the file, and put it back afterwards, at one random place after another, which is yielded."""
    before, draw = file.read_bytes(), random.Random(SEED)
    for _ in range(cases(few)):
        content, place = bytearray(before), draw.randrange(len(before))
        content[place] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        yield place
    file.write_bytes(before)
