"""Files that say which images have a property."""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KINDS = ("seed", "index")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Properties of images.

    Attributes:
        kind: what `numbers` are: "seed", or "index", positions in a file of latents.
        numbers: int64 [N].
        columns: property -> float64 [N], 0 or 1, and NaN where nobody knows.
    """

    kind: str
    numbers: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


def read_labels(path: Path) -> Labels:
    """Reads a .csv file with a header, such as seed,smile,glasses or index,smile, or an .npz file of such arrays.

    Raises:
        OSError: no such file.
        ValueError: another form, or values other than 0, 1 and, for unknown, nothing (in .npz: NaN).
    """
    try:
        table = _arrays(path) if path.suffix == ".npz" else _columns(path)
        kinds = [name for name in KINDS if name in table]
        if len(kinds) != 1 or len(table) < 2:
            raise ValueError(f"columns are {', '.join(table)}; give seed or index, and a property")
        numbers = table.pop(kinds[0])
        if any(column.shape != numbers.shape or numbers.ndim != 1 for column in table.values()):
            raise ValueError("columns differ in length")
        if not np.all((numbers >= 0) & (numbers == np.floor(numbers))):
            raise ValueError(f"{kinds[0]} must be whole numbers from 0")
        for name, column in table.items():
            if not np.all(np.isnan(column) | (column == 0) | (column == 1)):
                raise ValueError(f"{name} must be 0 or 1")
    except (ValueError, csv.Error, zipfile.BadZipFile, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"labels={path}: {error}") from error
    return Labels(kinds[0], numbers.astype(np.int64), table)


def _columns(path: Path) -> dict[str, NDArray[np.float64]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row] or [[]]
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"every line must have {len(header)} columns, like the first")
    cells = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {
        name: np.array([float(cell or "nan") for cell in column]) for name, column in zip(header, cells, strict=True)
    }


def _arrays(path: Path) -> dict[str, NDArray[np.float64]]:
    with np.load(path) as archive:
        return {name: np.asarray(archive[name], np.float64) for name in archive}
