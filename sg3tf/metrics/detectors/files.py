"""Files of published detector networks, and conversion of images for the networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf

from sg3tf.utils.checksums import digest_file
from sg3tf.utils.resolution import Resolution, size_of

# --- Files ------------------------------------------------------------------------------------------------------------


class DetectorError(ValueError):
    """A detector cannot be loaded; the message is one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file published by others.

    Attributes:
        name: file name.
        url: address of the file, or of an archive that contains it.
        size: size of the download in bytes.
        sha256: digest of the file, as many digits as are known, or None.
        archive: name of the archive, or None.
    """

    name: str
    url: str
    size: int
    sha256: str | None = None
    archive: str | None = None


def check_files(folder: Path, published: Iterable[PublishedFile]) -> None:
    """Check that a detector folder has all files.

    Raises:
        DetectorError: files are missing; one message names all of them.
    """
    missing = [file for file in published if not (folder / file.name).is_file()]
    if missing:
        verb, pronoun = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise DetectorError(
            f"{names(missing)} {verb} not in the detector folder {str(folder)!r}: {sources(missing)}; "
            f"nothing is downloaded, put {pronoun} there"
        )


def names(published: Iterable[PublishedFile]) -> str:
    """Comma-separated names of files."""
    return ", ".join(file.name for file in published)


def sources(published: Sequence[PublishedFile]) -> str:
    """Addresses of files, with their sizes and the known digits of their SHA-256."""
    if len(published) == 1:
        return f"it is {_source(published[0])}"
    return "; ".join(f"{file.name} is {_source(file)}" for file in published)


def _source(published: PublishedFile) -> str:
    place = f"in {published.archive}" if published.archive else "published"
    sha256 = f"SHA-256 {published.sha256}{'...' if len(published.sha256) < 64 else ''}, " if published.sha256 else ""
    return f"{place} at {published.url} ({sha256}{published.size:,} bytes)"


def verified_digest(path: Path, published: PublishedFile) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        DetectorError: it differs from the published file's.
    """
    digest = digest_file(path)
    if published.sha256 and not digest.startswith(published.sha256):
        raise DetectorError(
            f"{path}: SHA-256 is {digest}, but the published file's begins with {published.sha256}: "
            f"download it again from {published.url}"
        )
    return digest


# --- Images -----------------------------------------------------------------------------------------------------------


def check_size(resolution: Resolution, min_side: int) -> None:
    """Check that images are large enough.

    Raises:
        DetectorError: a side is shorter than `min_side` pixels.
    """
    size = size_of(resolution)
    if size.shorter < min_side:
        raise DetectorError(f"images of {size}: must be {min_side}x{min_side} at least; use larger ones")


def to_rgb(images: tf.Tensor) -> tf.Tensor:
    """Convert images [N, H, W, 3], or gray images [N, H, W, 1], to float32 [N, H, W, 3] in the same range."""
    images = tf.convert_to_tensor(images)
    channels = images.shape[-1] if images.shape.rank == 4 else None
    if channels not in (1, 3):
        raise DetectorError(f"images of shape {images.shape}: must be [N, height, width, 3 or 1]")
    images = tf.cast(images, tf.float32)
    return images if channels == 3 else tf.repeat(images, 3, axis=-1)


def uint8_to_rgb(images: tf.Tensor) -> tf.Tensor:
    """Convert images uint8 [N, H, W, 3] or [N, H, W, 1] to float32 [N, H, W, 3] in [0, 255]."""
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8:
        raise DetectorError(f"images are {images.dtype.name}: must be uint8")
    return to_rgb(images)
