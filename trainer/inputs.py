"""Inputs of a training step: batches of real images, and the tensors of each phase."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches
from trainer.augment.heuristics import INTERVAL

if TYPE_CHECKING:  # importing them imports TensorFlow or protobuf
    from sg3tf.data.dataset import Dataset
    from trainer.config import Options

#: Images, uint8 [B, H, W, C], and labels, float32 [B, label_dim].
Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]
#: NumPy array when inputs are drawn, tf.Tensor when a phase reads them; the first axis is the batch.
Values = Any
Fields = TypeVar("Fields")

# --- Inputs of the phases ---------------------------------------------------------------------------------------------


class _TensorFields:
    """Dataclass that tf.nest, tf.function and strategies treat as a structure of tensors; None is left out."""

    def __tf_flatten__(self) -> tuple[tuple[str, ...], tuple[Values, ...]]:
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        present = tuple(name for name in names if getattr(self, name) is not None)
        return present, tuple(getattr(self, name) for name in present)

    @classmethod
    def __tf_unflatten__(cls, present: tuple[str, ...], values: tuple[Values, ...]) -> Any:
        return cls(**dict(zip(present, values, strict=True)))


@dataclasses.dataclass(frozen=True)
class Latents(_TensorFields):
    """Inputs of the generator.

    Attributes:
        z: float32 [N, z_dim].
        label: float32 [N, label_dim].
        mix_z: float32 [N, z_dim], the second latent of style mixing; None without.
        mix_from: int32 [N], the first style vector that comes from mix_z.
        noise: int32 [N, 2], seeds of the noise in StyleGAN2's images; None for generators without noise.

    Examples:
        >>> latents = Latents(z=np.zeros([8, 512], np.float32), label=np.zeros([8, 0], np.float32))
        >>> [values.shape for values in tf.nest.flatten(latents)]
        [(8, 512), (8, 0)]
    """

    z: Values
    label: Values
    mix_z: Values = None
    mix_from: Values = None
    noise: Values = None


@dataclasses.dataclass(frozen=True)
class View(_TensorFields):
    """Changes to images before they reach the discriminator: blur, then augmentation.

    Attributes:
        blur_sigma: float32 [N], the same for all; None without blur.
        augment_params: float32 [N, columns], see trainer.augment.random_params; None without augmentation.
        augment_p: float32 [N], probability of every transform.

    Examples:
        >>> view = View(blur_sigma=np.full([8], 10, np.float32))
        >>> view.blur_sigma.shape, view.augment_params
        ((8,), None)
    """

    blur_sigma: Values = None
    augment_params: Values = None
    augment_p: Values = None


@dataclasses.dataclass(frozen=True)
class FakeInputs(_TensorFields):
    """Generated images: latents, and the blur and augmentation of the images.

    Examples:
        >>> latents = Latents(z=np.zeros([8, 512], np.float32), label=np.zeros([8, 0], np.float32))
        >>> fake = FakeInputs(latents, View())
        >>> fake.latents.z.shape
        (8, 512)
    """

    latents: Latents
    view: View


@dataclasses.dataclass(frozen=True)
class PseudoRealInputs(_TensorFields):
    """Generated images that the discriminator gets as real ones (APA, arXiv 2111.06849).

    Attributes:
        latents: latents of N images.
        replaced: bool [N], True for the real images that are replaced.

    Examples:
        >>> latents = Latents(z=np.zeros([8, 512], np.float32), label=np.zeros([8, 0], np.float32))
        >>> PseudoRealInputs(latents, replaced=np.arange(8) < 2).replaced.sum()
        np.int64(2)
    """

    latents: Latents
    replaced: Values


@dataclasses.dataclass(frozen=True)
class RealInputs(_TensorFields):
    """Real images: uint8 [N, H, W, C] (or float in [-1, 1]), labels float32 [N, label_dim], view, replacements.

    Examples:
        >>> real = RealInputs(np.zeros([8, 16, 16, 3], np.uint8), np.zeros([8, 0], np.float32), View())
        >>> real.images.shape
        (8, 16, 16, 3)
    """

    images: Values
    label: Values
    view: View
    pseudo: PseudoRealInputs | None = None


@dataclasses.dataclass(frozen=True)
class DiscriminatorInputs(_TensorFields):
    """Inputs of the discriminator's phase: equally many real and generated images.

    Examples:
        >>> label = np.zeros([8, 0], np.float32)
        >>> real = RealInputs(np.zeros([8, 16, 16, 3], np.uint8), label, View())
        >>> fake = FakeInputs(Latents(np.zeros([8, 512], np.float32), label), View())
        >>> inputs = DiscriminatorInputs(real, fake)
        >>> len(inputs.real.images), len(inputs.fake.latents.z)
        (8, 8)
    """

    real: RealInputs
    fake: FakeInputs


@dataclasses.dataclass(frozen=True)
class PathLengthInputs(_TensorFields):
    """Latents, and seeds for the random images of path length regularization, int32 [N, 2].

    Examples:
        >>> latents = Latents(z=np.zeros([4, 512], np.float32), label=np.zeros([4, 0], np.float32))
        >>> inputs = PathLengthInputs(latents, directions=np.zeros([4, 2], np.int32))
        >>> inputs.directions.shape
        (4, 2)
    """

    latents: Latents
    directions: Values


def named_arrays(inputs: Any) -> dict[str, Values]:
    """Arrays of the inputs of a phase by path, such as "latents.z", in the order of tf.nest.flatten."""
    found: dict[str, Values] = {}
    for field in dataclasses.fields(inputs):
        value = getattr(inputs, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": array for name, array in named_arrays(value).items()}
        elif value is not None:
            found[field.name] = value
    return found


def map_arrays(function: Callable[[Values], Values], inputs: Fields) -> Fields:
    """Apply `function` to every array of a phase's inputs."""
    values = {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}  # type: ignore[arg-type]
    mapped = {
        name: map_arrays(function, value) if dataclasses.is_dataclass(value) else function(value)
        for name, value in values.items()
        if value is not None
    }
    return dataclasses.replace(inputs, **mapped)  # type: ignore[type-var]


# --- Batches of real images -------------------------------------------------------------------------------------------

#: Added to the seed, so that held-out images have their own order.
_HELD_OUT_SEED = 2**32


class Labels(Protocol):
    """Labels to draw for generated images; `sg3tf.data.dataset.Dataset` implements this."""

    label_dim: int

    def __len__(self) -> int: ...

    def label(self, i: int) -> NDArray[np.float32]:
        """Label [label_dim]."""


class Examples(Labels, Protocol):
    """Real images and labels by index, as provided by `Dataset` and `BatchIterator`."""

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image [H, W, C] and label [label_dim]."""


class BatchIterator:
    """Any iterable of batches in place of a data set; indexing returns images of the latest batch.

    A resumed run starts with the first batch that the iterable yields. For a bit-exact resume, start it at the batch
    that follows those that the checkpoint has seen.

    Args:
        source: yields (images, labels), as arrays or tensors; or images alone, if label_dim is 0.
        shape: shape of the images of a batch, [B, H, W, C].
        label_dim: width of a label; 0 without labels.

    Raises:
        DataError: (also from next) the source has ended, or yields something else than described.

    Examples:
        >>> source = ((np.zeros([8, 16, 16, 3], np.uint8), np.zeros([8, 2], np.float32)) for _ in range(100))
        >>> images, labels = next(BatchIterator(source, (8, 16, 16, 3), label_dim=2))
        >>> images.shape, labels.shape
        ((8, 16, 16, 3), (8, 2))
    """

    def __init__(self, source: Iterable[Any], shape: tuple[int, int, int, int], label_dim: int) -> None:
        self.label_dim = label_dim
        self._source, self._shape = iter(source), shape
        self._count = 0
        self._latest = self._next_batch()  # for the image grid that is saved before the first step
        self._is_fresh = True

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._is_fresh:
            self._latest = self._next_batch()
        self._is_fresh = False
        return self._latest

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return self._latest[0][i], self._latest[1][i]

    def label(self, i: int) -> NDArray[np.float32]:
        return self._latest[1][i]

    def close(self) -> None:
        """Close the source, if it is a generator."""
        if close := getattr(self._source, "close", None):
            close()

    def _next_batch(self) -> Batch:
        try:
            batch = next(self._source)
        except StopIteration:
            raise DataError(
                f"the iterator of batches has ended after {self._count}: repeat it, such as by tf.data.Dataset.repeat()"
            ) from None
        no_labels = np.zeros([self._shape[0], 0], np.float32)
        images, labels = batch if isinstance(batch, tuple | list) else (batch, no_labels)
        images, labels = np.asarray(images), np.asarray(labels, np.float32)
        expected = (*self._shape, "uint8"), (self._shape[0], self.label_dim)
        if ((*images.shape, images.dtype.name), labels.shape) != expected:
            raise DataError(
                f"batch {self._count}: images {images.dtype.name} {list(images.shape)}, labels {list(labels.shape)}; "
                f"yield images uint8 {list(self._shape)} and labels [{self._shape[0]}, {self.label_dim}]"
            )
        self._count += 1
        return images, labels


class InputPipeline:
    """Batches of training images and, in steps that measure overfitting with them, of held-out images.

    Args:
        options: options of the run.
        data: images to train on.
        held_out: images that the discriminator scores but never learns from; None without --validation.
        step, cur_nimg: progress of the run at which to start.
        part: this worker's rows of a batch.

    Examples:
        >>> from trainer.config import Options
        >>> size = {"resolution": 16, "cbase": 128, "cmax": 8, "batch": 8}
        >>> data = {"data": "faces", "data_name": "faces", "data_digest": "sha256:0", "num_images": 64}
        >>> options = Options(cfg="stylegan3-t", image_channels=3, label_dim=0, **data, **size)
        >>> source = iter([(np.zeros([8, 16, 16, 3], np.uint8), np.zeros([8, 0], np.float32))])
        >>> batches = BatchIterator(source, (8, 16, 16, 3), label_dim=0)
        >>> pipeline = InputPipeline(options, batches, held_out=None, step=0, cur_nimg=0)
        >>> (images, labels), held_out = pipeline.next()
        >>> images.shape, labels.shape, held_out
        ((8, 16, 16, 3), (8, 0), None)
    """

    def __init__(
        self,
        options: Options,
        data: Dataset | BatchIterator,
        held_out: Dataset | None,
        *,
        step: int,
        cur_nimg: int,
        part: slice = slice(None),
    ) -> None:
        def stream(dataset: Dataset, seed: int, start_nimg: int) -> Any:
            return batches(
                dataset,
                options.batch,
                seed=seed,
                start_nimg=start_nimg,
                mirror=options.mirror,
                workers=options.workers,
                part=part,
                order=options.data_order,
            )

        self._step = step
        self._stall_seconds = 0.0
        self._real = data if isinstance(data, BatchIterator) else stream(data, options.seed, cur_nimg)
        self._held_out = None
        if held_out is not None:
            seen = -(-step // INTERVAL) * options.batch
            self._held_out = stream(held_out, options.seed + _HELD_OUT_SEED, seen)

    def next(self) -> tuple[Batch, Batch | None]:
        """Return the training images of the next step, and the held-out images of every INTERVAL-th step.

        Raises:
            DataError: a record, which the message names, cannot be read.
        """
        start = time.monotonic()
        real, held_out = next(self._real), None
        if self._held_out is not None and self._step % INTERVAL == 0:
            held_out = next(self._held_out)
        self._step += 1
        self._stall_seconds += time.monotonic() - start
        return real, held_out

    def pop_stall_seconds(self) -> float:
        """Return the seconds spent waiting for images since the last call."""
        seconds, self._stall_seconds = self._stall_seconds, 0.0
        return seconds

    def close(self) -> None:
        """Stop the threads."""
        for stream in (self._real, self._held_out):
            if stream is not None:
                stream.close()
