"""Data sets in either TFRecord layout, for conversion to the other layout or another resolution."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from PIL import Image

from sg3tf.data.labels import Label
from sg3tf.data.shards import ShardStore
from sg3tf.data.sources.source import Source
from sg3tf.data.stores import Store, is_records, open_records


def recognizes(path: Path) -> bool:
    """Return True for such a file or folder."""
    return is_records(path) and (path.is_dir() or path.suffix == ".tfrecords")


def find(path: Path) -> Source:
    """List the images of the largest resolution in order, with their labels.

    Raises:
        DataError: see `sg3tf.data.dataset.open_dataset`.
    """
    store = _open(path)
    entries = tuple((str(i), _label(store, i)) for i in range(store.num_images))
    scale = store.label_scale if isinstance(store, ShardStore) else None
    return Source(path, entries, store.label, partial(_read, path), store.classes, scale=scale)


def _read(path: Path, name: str) -> Image.Image:
    image = _open(path).read(int(name))[0]
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _label(store: Store, i: int) -> Label:
    if store.label.kind == "none":
        return None
    label = store.raw_label(i)
    store.label.row(label, store.where(i))  # raises DataError if it does not fit
    return label


@lru_cache(maxsize=1)
def _open(path: Path) -> Store:
    return open_records(path)
