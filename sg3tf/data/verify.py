"""Read every image of a data set and check it.

sg3tf data verify --data=datasets/photos-256
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import flags

from sg3tf.data.build.report import Tally, add, printable
from sg3tf.data.dataset import open_store
from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import FfhqStore, find_levels
from sg3tf.data.image_store import ImageStore
from sg3tf.data.shards import LABELS, MANIFEST, ContentDigest, ShardStore, is_shard_set
from sg3tf.data.stores import Store
from sg3tf.utils import flags as shared
from sg3tf.utils.machine import num_cores
from sg3tf.utils.progress import Progress
from sg3tf.utils.resolution import Resolution


def verify(path: Path, resolution: Resolution | None = None) -> str:
    """Verify checksums, shapes, decoding, labels, counts and digests at all resolutions.

    Prints remarks on image files, with the numbers of those that are changed in unexpected ways as they are read.

    Args:
        path: records or image files.
        resolution: resolution at which to read image files.

    Returns:
        A one-line summary.

    Raises:
        DataError: the first problem found; the message names the file and record.
    """
    stores = list(_stores(path, resolution))
    for store in stores:
        for remark in store.remarks:
            print(remark)
    counts = {store.num_images for store in stores}
    if len(counts) > 1:
        listed = ", ".join(f"{store.path.name}: {store.num_images}" for store in stores)
        raise DataError(f"{path}: the levels differ in length ({listed}); build it again")
    for store in stores:
        if isinstance(store, ShardStore) and store.has_damaged_labels():
            raise DataError(f"{store.path / LABELS} has changed since it was written; delete it: it is optional")
        for note, (count, name) in _read_all(store).items():
            print(printable(f"note: {count}: {note}, e.g. {name}"))
    sizes = ", ".join(str(store.resolution) for store in stores)
    store = stores[-1]
    label = f"{store.label.kind} labels [{store.label.dim}]" if store.label.dim else "no labels"
    return f"{path}: ok, {store.num_images} images at {sizes}, {store.channels} channels, {label}, {store.digest}"


def _stores(path: Path, resolution: Resolution | None) -> Iterator[Store]:
    levels = find_levels(path) if path.is_dir() and not is_shard_set(path) else {}
    for file in levels.values():
        yield FfhqStore(file)
    if not levels:
        yield open_store(path, resolution)


def _read_all(store: Store) -> Tally:
    """Read every image, in threads, and compare the digests with the manifest, if there is one.

    This detects images and labels that were changed, lost, duplicated or moved.

    Returns:
        Notes on image files.
    """

    def read(i: int) -> tuple[bytes, bool, tuple[str, ...]]:
        if isinstance(store, ImageStore):
            image, label, notes = store.read_with_notes(i)
        else:
            (image, label), notes = store.read(i), ()
        return ContentDigest.of(image, label), np.array_equal(label, store.read_label(i)), notes

    ends = _shard_ends(store)
    whole, part = ContentDigest(), ContentDigest()
    other_labels: list[int] = []
    tally: Tally = {}
    chunk = 256
    with (
        ThreadPoolExecutor(num_cores()) as pool,
        Progress(store.num_images, description=f"{store.resolution} pixels") as progress,
    ):
        for start in range(0, store.num_images, chunk):
            for digest, same_label, notes in pool.map(read, range(start, min(start + chunk, store.num_images))):
                whole.add(digest)
                part.add(digest)
                for note in notes:
                    add(tally, note, store.where(progress.done))
                if not same_label:
                    other_labels.append(progress.done)
                progress.update()
                if progress.done in ends:
                    file, expected = ends[progress.done]
                    _compare(store.path / file, part, expected)
                    part = ContentDigest()
    if isinstance(store, ShardStore):
        _compare(store.path, whole, store.digest)
    if other_labels:
        where = store.where(other_labels[0])
        raise DataError(f"{where}: its label is not that in {store.path / LABELS}; build the data set again")
    return tally


def _shard_ends(store: Store) -> dict[int, tuple[str, str]]:
    """Return {number of images up to the end of a shard: (its file, its digest)}."""
    ends, count = {}, 0
    for shard in store.manifest["shards"] if isinstance(store, ShardStore) else ():
        count += shard["num_images"]
        if shard["num_images"]:
            ends[count] = shard["file"], str(shard.get("digest"))
    return ends


def _compare(path: Path, found: ContentDigest, expected: str) -> None:
    if str(found) != expected:
        raise DataError(
            f"{path}: the digest in {MANIFEST} is {expected}, the content's is {found}: images or labels were "
            "changed, duplicated or moved; copy or build the data set again"
        )


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    help_text = "Data set to check: a folder, one of its NAME-rNN.tfrecords files, or a folder or zip file of images."
    flags.DEFINE_string("data", None, help_text, required=True, flag_values=options)
    shared.define_resolution(options, "Resolution at which to read image files.")


def main(options: flags.FlagValues) -> None:
    """Check the data set and print a summary."""
    if not options.data:
        raise DataError("--data is missing; give the data set to check")
    print(verify(Path(options.data), options.resolution))
