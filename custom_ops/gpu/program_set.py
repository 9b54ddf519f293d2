"""The description of a folder of programs, which the exporter writes and the runner reads. Needs no TensorFlow or JAX.

programs.json lists the programs, NAME.mlir.gz has the text of a program, and stored.npz has small arguments and
expected results. Large arguments are drawn from seeds on both sides, which keeps the folder small.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Numbers of an array that are drawn; a larger one repeats them.
MAX_DRAWN = 2**20


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a program, or an expected result.

    Attributes:
        stored: name in stored.npz; empty for an array that is drawn.
        shape: of a drawn array.
        seed: of a drawn array.
        scale: standard deviation of float32 numbers; 0 for bytes from 0 to 255.
        dtype: type to which the numbers are rounded.
    """

    stored: str = ""
    shape: tuple[int, ...] = ()
    seed: int = 0
    scale: float = 0.0
    dtype: str = "float32"

    def value(self, stored: Any) -> NDArray[Any]:
        """Return the array, given those of stored.npz."""
        if self.stored:
            return stored[self.stored]
        random = np.random.RandomState(self.seed)
        if self.scale == 0:
            return random.randint(0, 256, self.shape).astype(np.uint8)
        count = math.prod(self.shape)
        drawn = random.standard_normal(min(count, MAX_DRAWN)) * self.scale  # it takes seconds for more
        return np.resize(drawn.astype(np.float32).astype(self.dtype), self.shape)


@dataclasses.dataclass(frozen=True)
class Expected:
    """A result to compare with.

    Attributes:
        result: the result.
        limit: largest norm of a difference that rounding can explain.
    """

    result: Argument
    limit: float


@dataclasses.dataclass(frozen=True)
class Entry:
    """A program.

    Attributes:
        name: name of its file.
        images: images per call; times are divided by it.
        arguments: in order.
        expected: results to compare with; empty for large programs.
        labels: network, phase, backend and the like, for reports.
    """

    name: str
    images: int
    arguments: tuple[Argument, ...]
    expected: tuple[Expected, ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


class ProgramSet:
    """A folder of programs.

    Args:
        folder: read if it exists.

    Attributes:
        entries: the programs, by name.
        stored: stored arrays, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.stored: dict[str, NDArray[Any]] = {}
        if (folder / "programs.json").exists():
            for described in json.loads((folder / "programs.json").read_text()):
                self.entries[described["name"]] = _entry(described)
            with np.load(folder / "stored.npz") as stored:
                self.stored = dict(stored)

    def text(self, name: str) -> str:
        """Return the StableHLO of a program."""
        return gzip.decompress((self.folder / f"{name}.mlir.gz").read_bytes()).decode()

    def add(self, entry: Entry, text: str) -> None:
        """Write a program; `save` adds it to the list."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{entry.name}.mlir.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        self.entries[entry.name] = entry

    def store(self, name: str, value: NDArray[Any]) -> Argument:
        """Keep an array in stored.npz."""
        self.stored[name] = value
        return Argument(stored=name)

    def save(self) -> None:
        """Write programs.json and stored.npz."""
        arrays: dict[str, Any] = self.stored
        np.savez_compressed(self.folder / "stored.npz", **arrays)
        described = [dataclasses.asdict(entry) for entry in self.entries.values()]
        (self.folder / "programs.json").write_text(json.dumps(described) + "\n")


def _entry(described: dict[str, Any]) -> Entry:
    arguments = tuple(map(_argument, described["arguments"]))
    expected = tuple(Expected(_argument(e["result"]), e["limit"]) for e in described["expected"])
    return Entry(**{**described, "arguments": arguments, "expected": expected})


def _argument(described: dict[str, Any]) -> Argument:
    return Argument(**{**described, "shape": tuple(described["shape"])})
