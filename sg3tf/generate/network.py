"""Common interface to generators: a Keras model, a SavedModel, or a model on a server. NumPy only."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf import latents
from sg3tf.utils.class_names import label_of
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.resolution import Resolution, image_shape, to_resolution

if TYPE_CHECKING:
    from sg3tf.models.generators import Generator

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Shape = tuple[int | None, ...]


class Network(abc.ABC):
    """Generator that maps latents to style vectors, and style vectors to images.

    Every image depends only on its own latents, bit for bit (docs/generate.md).

    Attributes:
        name: file, folder or address it was opened from, for messages.
        source: what was opened there, for metadata: in a run folder, the .keras file; otherwise the name.
        batch: number of images computed at a time.
        z_dim, w_dim, num_ws: sizes of latents and style vectors, and number of style vectors per image.
        label_dim: size of a label; 0 without labels.
        resolution, channels: image size; resolution is the side of a square, or a Size (width, height).
        supports_transform: True if images can be rotated and translated.
        classes: the label_dim class names; () if unknown.
        label_scale: scale of labels before the data set standardized them; None if it did not, or if unknown.

    Examples:
        >>> from sg3tf.generate.open_network import open_network
        >>> network = open_network("examples/portraits-32.keras")
        >>> network.resolution, network.num_ws, network.supports_transform
        (32, 16, True)
        >>> [image.shape for image in network.images(network.map(np.ones([2, 512])))]
        [(32, 32, 3), (32, 32, 3)]
    """

    classes: tuple[str, ...] = ()
    label_scale: LabelScale | None = None
    _class_center: FloatArray | None = None

    def __init__(
        self,
        name: str,
        batch: int,
        *,
        z_dim: int,
        w_dim: int,
        num_ws: int,
        label_dim: int,
        resolution: Resolution,
        channels: int,
        supports_transform: bool,
    ) -> None:
        self.name, self.source, self.batch = name, name, batch
        self.z_dim, self.w_dim, self.num_ws, self.label_dim = z_dim, w_dim, num_ws, label_dim
        self.resolution, self.channels, self.supports_transform = resolution, channels, supports_transform

    def label_of_class(self, class_name: str) -> FloatArray | None:
        """Return the label [label_dim] of one or several classes, by name or number; None if one is unknown."""
        return label_of(class_name, self.classes, self.label_dim)

    @abc.abstractmethod
    def identity(self) -> str:
        """Return a string that identifies the weights and precision."""

    @abc.abstractmethod
    def _map(self, z: FloatArray, label: FloatArray | None) -> FloatArray:
        """Return untruncated style vectors [N, num_ws, w_dim] for z [N, z_dim] and label [N, label_dim] or None."""

    @abc.abstractmethod
    def _average(self) -> FloatArray:
        """Return the average style vector [w_dim]."""

    @abc.abstractmethod
    def _synthesize(self, ws: FloatArray, transform: FloatArray | None) -> ByteArray:
        """Return images [N, H, W, C] for ws [N, num_ws, w_dim] and transform [N, 3, 3] or None."""

    @property
    def generator(self) -> Generator:
        """The Keras model.

        Raises:
            ValueError: the network is not a Keras model.
        """
        raise ValueError(f"network={self.name}: its layers are out of reach; give a .keras file or a run folder")

    @property
    def w_avg(self) -> FloatArray:
        """Average style vector, float32 [w_dim], the center of truncation."""
        return self._average() if self._class_center is None else self._class_center

    def center_on_class(self, label: ArrayLike) -> None:
        """Truncate toward the average of the class with this label [label_dim] from now on."""
        self._class_center = self.class_average(label)

    def truncates_fully(self, cutoff: int | None) -> bool:
        """Return True if truncation moves all style vectors toward the average of all classes.

        Only then does its psi alone describe the latents.

        Args:
            cutoff: number of leading style vectors to truncate; None for all.
        """
        return self._class_center is None and (cutoff is None or cutoff >= self.num_ws)

    def class_average(self, label: ArrayLike) -> FloatArray:
        """Return the mean of w over random z with one label [label_dim], float32 [w_dim]."""
        return np.asarray(self.sample_w(label=np.asarray(label, np.float32)).mean(axis=0, dtype=np.float64), np.float32)

    def map(
        self, z: ArrayLike, psi: ArrayLike = 1.0, cutoff: int | None = None, label: ArrayLike | None = None
    ) -> FloatArray:
        """Return style vectors.

        Args:
            z: [N, z_dim].
            psi, cutoff: truncation, see sg3tf.latents.truncate.
            label: [label_dim] for all, or [N, label_dim]; only for a conditional network, which requires it.

        Returns:
            float32 [N, num_ws, w_dim].

        Raises:
            ValueError: shapes do not match the network.
            OSError: no answer from the server.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z of shape {z.shape}: give [N, {self.z_dim}]")
        ws = np.zeros([len(z), self.num_ws, self.w_dim], np.float32)
        for number, row in enumerate(self._in_batches(self._map, z, self._labels(label, len(z)))):
            ws[number] = row
        return latents.truncate(ws, self.w_avg, psi, cutoff)

    def sample_w(self, count: int = 10_000, seed: int = 0, label: FloatArray | None = None) -> FloatArray:
        """Return w for standard normal z, without truncation.

        Args:
            count: number of samples.
            seed: seed of z.
            label: [label_dim], for a conditional network.

        Returns:
            float32 [count, w_dim].
        """
        z = np.random.default_rng(seed).standard_normal([count, self.z_dim], np.float32)
        return self._sample_w(z, label)

    def _sample_w(self, z: FloatArray, label: FloatArray | None) -> FloatArray:
        return self.map(z, label=label)[:, 0]

    def images(self, ws: ArrayLike, transform: ArrayLike | None = None) -> Iterator[ByteArray]:
        """Yield images one by one, computed lazily, `batch` at a time; arguments as in `synthesize`."""
        ws = np.asarray(ws, np.float32)
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws of shape {ws.shape}: network={self.name} takes [N, {self.num_ws}, {self.w_dim}]")
        if transform is not None:
            self.require_transform()
            transform = np.asarray(np.broadcast_to(np.asarray(transform, np.float32), [len(ws), 3, 3]))
        return self._in_batches(self._synthesize, ws, transform)

    def synthesize(self, ws: ArrayLike, transform: ArrayLike | None = None) -> ByteArray:
        """Return images.

        Args:
            ws: [N, num_ws, w_dim].
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width; or None.

        Returns:
            uint8 [N, H, W, channels].

        Raises:
            ValueError: shapes do not match the network, or it does not support transforms.
            OSError: no answer from the server.
        """
        images = [*self.images(ws, transform)]
        return np.stack(images) if images else np.zeros([0, *image_shape(self.resolution, self.channels)], np.uint8)

    def require_transform(self) -> None:
        """Raise ValueError if images cannot be rotated and translated."""
        if not self.supports_transform:
            raise ValueError(
                f"network={self.name}: its images cannot be rotated and translated, as those of StyleGAN3 and its "
                "ablations B to H can; leave out rotation and translation"
            )

    def set_noise(self, noise: str) -> None:
        """Set the noise that the layers of StyleGAN2 add.

        Args:
            noise: "const" for the stored noise, "random" for noise that depends on the style vectors, or "none".

        Raises:
            ValueError: the network has no noise, or cannot change it.
        """
        if noise != "const":
            raise ValueError(
                f"noise={noise}: network={self.name} draws its stored noise, if it has any; give a .keras file or a "
                "run folder"
            )

    def _in_batches(
        self, function: Callable[..., NDArray[Any]], inputs: NDArray[Any], optional: NDArray[Any] | None
    ) -> Iterator[NDArray[Any]]:
        """Yield the rows of function(inputs, optional), computed `batch` at a time."""
        for start in range(0, len(inputs), self.batch):
            part = slice(start, start + self.batch)
            yield from function(inputs[part], None if optional is None else optional[part])

    def _labels(self, label: ArrayLike | None, count: int) -> FloatArray | None:
        if label is None and not self.label_dim:
            return None
        shape = None if label is None else np.shape(label)
        if not self.label_dim or shape not in ((self.label_dim,), (count, self.label_dim)):
            remedy = f"give [{self.label_dim}] or [{count}, {self.label_dim}]" if self.label_dim else "leave it out"
            raise ValueError(f"label of shape {shape}: {remedy}, as network={self.name} has {self.label_dim} classes")
        return np.asarray(np.broadcast_to(np.asarray(label, np.float32), [count, self.label_dim]))


class ExportedNetwork(Network):
    """Network accessible only through the signatures `map` and `synthesize` written by `sg3tf export`.

    Args:
        name, batch: see Network.
        shapes: {name: shape} of the inputs and outputs of both signatures.

    Raises:
        ValueError: the signatures are not those of a generator.
    """

    _known_average: FloatArray | None = None
    #: The signatures, with their outputs.
    OUTPUTS: ClassVar[dict[str, str]] = {"map": "ws", "synthesize": "images"}

    def __init__(self, name: str, batch: int, shapes: Mapping[str, Shape]) -> None:
        try:
            _, z_dim = shapes["z"]
            _, num_ws, w_dim = shapes["ws"]
            _, height, width, channels = shapes["images"]
            _, label_dim = shapes.get("label", (None, 0))
            sizes = {"z_dim": z_dim, "w_dim": w_dim, "num_ws": num_ws, "label_dim": label_dim, "channels": channels}
            known = {key: _known_size(size) for key, size in sizes.items()}
            resolution = to_resolution([_known_size(width), _known_size(height)])
        except (KeyError, ValueError) as error:
            raise ValueError(f"network={name}: not a generator that sg3tf export has written ({error})") from error
        super().__init__(name, batch, **known, resolution=resolution, supports_transform="transform" in shapes)

    @abc.abstractmethod
    def _call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the output of a signature, computed row by row."""

    def _map(self, z: FloatArray, label: FloatArray | None) -> FloatArray:
        return self._call_map(z, 1.0, label)

    def _average(self) -> FloatArray:
        if self._known_average is None:  # one request is enough
            label = np.zeros([1, self.label_dim], np.float32) if self.label_dim else None
            self._known_average = self._call_map(np.ones([1, self.z_dim], np.float32), 0.0, label)[0, 0]
        return self._known_average

    def _call_map(self, z: FloatArray, psi: float, label: FloatArray | None) -> FloatArray:
        inputs = {"z": z, "psi": np.full([len(z)], psi, np.float32)}
        return self._call("map", inputs if label is None else inputs | {"label": label})

    def _synthesize(self, ws: FloatArray, transform: FloatArray | None) -> ByteArray:
        if not self.supports_transform:
            return self._call("synthesize", {"ws": ws})
        if transform is None:
            transform = np.tile(np.eye(3, dtype=np.float32), [len(ws), 1, 1])
        return self._call("synthesize", {"ws": ws, "transform": transform})


def _known_size(size: int | None) -> int:
    if size is None or size < 0:
        raise ValueError(f"size {size}")
    return size
