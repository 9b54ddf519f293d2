"""Reads every record of a data set and checks it: python -m trainer.data.verify --data=PATH"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from trainer.data.dataset import Store, open_store
from trainer.data.errors import DataError, run_command
from trainer.data.ffhq import FfhqStore, find_levels
from trainer.data.shards import MANIFEST, ContentDigest, ShardStore


def verify(path: Path) -> str:
    """Checks checksums, shapes, decoding, labels, counts and digest of all resolutions.

    Returns:
      A one-line summary.

    Raises:
      DataError: the first thing found wrong; the message names file and record.
    """
    stores = list(_stores(path))
    counts = {store.num_images for store in stores}
    if len(counts) > 1:
        listed = ", ".join(f"{store.path.name}: {store.num_images}" for store in stores)
        raise DataError(f"{path}: the levels differ in length ({listed}); build it again")
    for store in stores:
        digest = _read_all(store)
        if isinstance(store, ShardStore) and digest != store.digest:
            raise DataError(
                f"{path / MANIFEST}: digest is {store.digest}, the content's is {digest}; "
                "copy or build the data set again"
            )
    sizes = ", ".join(str(store.resolution) for store in stores)
    store = stores[-1]
    label = f"{store.label.kind} labels [{store.label.dim}]" if store.label.dim else "no labels"
    return f"{path}: ok, {store.num_images} images at {sizes}, {store.channels} channels, {label}, {store.digest}"


def _stores(path: Path) -> Iterator[Store]:
    levels = find_levels(path) if path.is_dir() and not (path / MANIFEST).is_file() else {}
    for file in levels.values():
        yield FfhqStore(file)
    if not levels:
        yield open_store(path)


def _read_all(store: Store) -> str:
    """Reads every image, in threads; returns the content's digest."""

    def read(i: int) -> bytes:
        image, label = store.read(i)
        if not np.isfinite(label).all():
            raise DataError(f"{store.where(i)}: label {label.tolist()} is not finite")
        return ContentDigest.of(image, label)

    digest = ContentDigest()
    chunk = 256
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=store.num_images, unit="img", desc=str(store.resolution), leave=False) as bar,
    ):
        for start in range(0, store.num_images, chunk):
            for one in pool.map(read, range(start, min(start + chunk, store.num_images))):
                digest.add(one)
                bar.update()
    return str(digest)


def main() -> None:
    """The command line."""
    print(verify(Path(flags.FLAGS.data)))


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "folder or file of a data set", required=True)
    run_command(main)
