"""Read every record of a data set and check it.

sg3tf data verify --data=datasets/photos-256
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import flags

from sg3tf.data.dataset import Store, open_store
from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import FfhqStore, find_levels
from sg3tf.data.shards import MANIFEST, ContentDigest, ShardStore, is_shard_set
from sg3tf.utils import command_line
from sg3tf.utils.progress import Progress


def verify(path: Path) -> str:
    """Check checksums, shapes, decoding, labels, counts and digests of all resolutions.

    Returns:
      A one-line summary.

    Raises:
      DataError: the first problem found; the message names file and record.
    """
    stores = list(_stores(path))
    counts = {store.num_images for store in stores}
    if len(counts) > 1:
        listed = ", ".join(f"{store.path.name}: {store.num_images}" for store in stores)
        raise DataError(f"{path}: the levels differ in length ({listed}); build it again")
    for store in stores:
        digests = _read_all(store)
        if isinstance(store, ShardStore):
            _compare(store, digests)
    sizes = ", ".join(str(store.resolution) for store in stores)
    store = stores[-1]
    label = f"{store.label.kind} labels [{store.label.dim}]" if store.label.dim else "no labels"
    return f"{path}: ok, {store.num_images} images at {sizes}, {store.channels} channels, {label}, {store.digest}"


def _stores(path: Path) -> Iterator[Store]:
    levels = find_levels(path) if path.is_dir() and not is_shard_set(path) else {}
    for file in levels.values():
        yield FfhqStore(file)
    if not levels:
        yield open_store(path)


def _read_all(store: Store) -> list[bytes]:
    """Read every image, in threads; return their digests."""

    def read(i: int) -> bytes:
        return ContentDigest.of(*store.read(i))

    digests: list[bytes] = []
    chunk = 256
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(store.num_images, description=f"{store.resolution} pixels") as progress,
    ):
        for start in range(0, store.num_images, chunk):
            for digest in pool.map(read, range(start, min(start + chunk, store.num_images))):
                digests.append(digest)
                progress.update()
    return digests


def _compare(store: ShardStore, digests: list[bytes]) -> None:
    """Compare the digests of shards and data set with the manifest: shows images lost, duplicated or moved."""
    parts, start = [], 0
    for shard in store.manifest["shards"]:
        parts.append((store.path / shard["file"], shard.get("digest"), digests[start : start + shard["num_images"]]))
        start += shard["num_images"]
    for path, expected, image_digests in (*parts, (store.path, store.digest, digests)):
        found = ContentDigest()
        for image_digest in image_digests:
            found.add(image_digest)
        if str(found) != expected:
            raise DataError(
                f"{path}: the digest in {MANIFEST} is {expected}, the content's is {found}: images or labels were "
                "changed, duplicated or moved; copy or build the data set again"
            )


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    help_text = "Data set to check: a folder, or one of its NAME-rNN.tfrecords files."
    flags.DEFINE_string("data", None, help_text, required=True, flag_values=options)


def main(options: flags.FlagValues) -> None:
    """Check the data set and print a summary."""
    print(verify(Path(options.data)))


def command() -> int:
    """Run the command and return its exit status."""
    return command_line.run("sg3tf data verify", main, define_flags, __doc__)


if __name__ == "__main__":
    sys.exit(command())
