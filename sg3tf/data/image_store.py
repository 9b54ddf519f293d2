"""Folders and zip files of images as a data set; the builder's functions crop and resize images as they are read."""

from __future__ import annotations

import hashlib
import io
import shlex
from pathlib import Path

import numpy as np

from sg3tf.data.conversion import ENLARGED, BuildConfig, crop_and_resize
from sg3tf.data.errors import DataError
from sg3tf.data.labels import NO_CLASS, Label
from sg3tf.data.sources import files, is_image_files
from sg3tf.image_files import open_image
from sg3tf.utils.resolution import Resolution

#: Version of the conversion to sRGB, for caches: pixels of some files differ from those of earlier versions.
_DECODING = b"2"


class ImageStore:
    """Image files at one resolution, RGB, with the pixels and labels that `sg3tf data build` stores by default.

    The files are listed when the store is opened. Reading an unreadable file raises an error; the builder skips it.

    Args:
        path: folder or zip file.
        resolution: image size.
        use_labels: labels are wanted; if False, and they cannot be read, a remark says so, and there are none.

    Raises:
        DataError: there are no images, the resolution is missing or wrong, or labels in use are malformed.

    Examples:
        >>> import tempfile
        >>> from sg3tf.images import save_png
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_png(folder / "0.png", np.zeros([20, 10, 3], np.uint8))
        >>> store = ImageStore(folder, resolution=8)
        >>> store.num_images, store.read(0)[0].shape
        (1, (8, 8, 3))
    """

    def __init__(self, path: Path, resolution: Resolution | None, use_labels: bool = True) -> None:
        self.path = path
        build = f"sg3tf data build {shlex.quote(f'--source={path}')} --resolution=256 --outdir=FOLDER"
        self._remedy = f"repair or remove it, or make a data set, which leaves it out: {build}"
        if not is_image_files(path):
            raise DataError(f"{path} holds neither records nor image files; make a data set from it: {build}")
        self._zip_version = files.zip_version(path)
        unread: tuple[str, ...] = ()
        try:
            source = files.find(path)
        except DataError as error:
            if use_labels:
                raise
            source = files.find(path, labels=False)  # raises again if the images are the problem
            unread = (f"no labels: {error}",)
        if resolution is None:
            raise DataError(f"{path} holds image files: give the resolution to read them at, such as --resolution=256")
        self._config = BuildConfig(resolution)
        self._entries = source.entries
        self.name = path.absolute().stem if path.is_file() else path.absolute().name
        self.resolution, self.channels = self._config.resolution, self._config.channels
        self.num_images = len(source.entries)
        self.label, self.classes = source.label, source.classes
        left_out = [
            f"left out: {len(source.unused)}, e.g. {name}: beside the class folders; to use such images, move them "
            f"into a folder, or make a data set without classes: {build} --nolabels"
            for name, _ in source.unused[:1]
        ]
        labels = f"{self.label.kind} labels [{self.label.dim}]" if self.label.dim else "no labels"
        about_first = self._remarks_on_first(build)
        found = f"{self.num_images} image files in {path}, {labels}"
        self.remarks = (found, *source.remarks, *left_out, *unread, *about_first)
        self.digest, self.cache_digest = self._identify()

    def _remarks_on_first(self, build: str) -> list[str]:
        """Return remarks for all images from what is done to the first; to look at all of them would take too long."""
        name = self._entries[0][0]
        try:
            image = open_image(io.BytesIO(files.read_file(self.path, name)))
            is_gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
            _, notes = crop_and_resize(image, self._config)
        except Exception:  # named when its turn comes
            return []
        remarks = []
        if is_gray:
            remarks.append(f"grayscale, read as RGB: {name}, for one; for one channel: {build} --channels=1")
        if ENLARGED in notes:
            remarks.append(f"{ENLARGED}: {name}, for one; sg3tf data verify counts them")
        return remarks

    def _identify(self) -> tuple[str, str]:
        """Hash names, sizes, labels and, in a zip file, checksums, because reading all files would take too long.

        Returns:
            The digest, and another one that also covers the modification times of a folder's files.
        """
        config = self._config
        digest = hashlib.sha256(repr((str(config.resolution), config.channels, config.crop, config.resize)).encode())
        times = hashlib.sha256(_DECODING)
        for name, label in self._entries:
            try:
                *stamp, time = files.stamp(self.path, name)
                digest.update(repr((name, label, tuple(stamp))).encode())
                times.update(f"{time} ".encode())
            except OSError as error:  # a link to nothing, or a disk that fails, where to remove the file is no remedy
                remedy = f"; {self._remedy}" if isinstance(error, FileNotFoundError) else ""
                raise DataError(f"{self.path}: {name} cannot be read: {error.strerror}{remedy}") from error
        whole = f"sha256:{digest.hexdigest()}"
        digest.update(times.digest())
        return whole, f"sha256:{digest.hexdigest()}"

    def where(self, i: int) -> str:
        """Return the name of image `i` for error messages."""
        return f"{self.path}: {self._entries[i][0]}"

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image `i`, uint8 [H, W, 3], and its label, float32 [label.dim]."""
        return self.read_with_notes(i)[:2]

    def read_with_notes(self, i: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Return image and label like `read`, and the notes of `crop_and_resize`."""
        try:
            files.require_version(self.path, self._zip_version)
            image = open_image(io.BytesIO(files.read_file(self.path, self._entries[i][0])))
            pixels, notes = crop_and_resize(image, self._config)
        except DataError:
            raise
        except Exception as error:  # Pillow raises many types for damaged files
            if isinstance(error, OSError) and error.errno:  # from the system, not from Pillow
                raise DataError(f"{self.where(i)}: cannot be read ({error.strerror})") from error
            reason = f"{error}" or type(error).__name__
            raise DataError(f"{self.where(i)}: {reason}; {self._remedy}") from error
        return pixels, self.read_label(i), notes

    def read_label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label.dim]."""
        return self.label.row(self._entries[i][1], self.where(i))

    def raw_label(self, i: int) -> Label:
        """Return the original label of image `i`; None if it is missing."""
        return self._entries[i][1]

    def classes_of_images(self) -> np.ndarray:
        """Return the class of every image, int64 [N]; NO_CLASS for images without a label."""
        return np.array([NO_CLASS if label is None else label for _, label in self._entries], np.int64)
