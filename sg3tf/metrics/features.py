"""Passes over real and generated images: each image is created once, and goes through each detector once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics.cache import Cache, KeyFields
from sg3tf.metrics.detectors import Detector
from sg3tf.metrics.detectors.laplacian_patches import LaplacianPatches
from sg3tf.metrics.feature_stats import FeatureCollector, FeatureRequest, FeatureStats, OutputName
from sg3tf.metrics.replicas import gather, run_on_replicas
from sg3tf.metrics.samples import Batch, Images, Index, Samples, check_finite, padded_batches
from sg3tf.models.loading import weights_digest
from sg3tf.utils.parallel import prefetch
from sg3tf.version import __version__

NUM_THREADS = 4  # for reading images or drawing latents while devices compute

#: Versions that may affect the last digits.
VERSIONS = {"sg3tf": __version__, "tensorflow": tf.__version__}

Arrays = dict[str, NDArray[Any]]
Tensors = dict[str, tf.Tensor]
Item = TypeVar("Item")


class ProgressCallback(Protocol):
    """Function called after every batch, and several times a second while another process computes the same."""

    def __call__(self, task: str, done: int, total: int, /) -> object:
        """Report that `done` of `total` images or samples of a task are done."""


# --- Sources of images ------------------------------------------------------------------------------------------------


class ImageSource(Protocol):
    """Images by their positions.

    Attributes:
        noun: their name in messages.
    """

    noun: str

    def arrays(self, index: Index) -> Arrays:
        """Arrays that `images` needs for these positions, and the positions as "numbers"; called in threads."""

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Return images, uint8 [N, H, W, C], from the arrays as tensors, and whether each is finite, bool [N]."""


def _numbers(index: Index) -> Arrays:
    return {"numbers": np.asarray(index, np.int32)}


class RealImages:
    """The images of a data set, unchanged."""

    noun = "images"

    def __init__(self, data: Images) -> None:
        self._data = data

    def arrays(self, index: Index) -> Arrays:
        return _numbers(index) | {"images": np.stack([self._data[int(i)][0] for i in index])}

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        return tensors["images"], tf.ones(tf.shape(tensors["images"])[:1], tf.bool)


class GeneratedImages:
    """Images of a generator, quantized to 8 bits as for published numbers: floor(127.5 x + 128), clipped."""

    noun = "samples"

    def __init__(self, G: Any, samples: Samples) -> None:
        self._G, self._samples = G, samples

    def arrays(self, index: Index) -> Arrays:
        arrays = _numbers(index) | {"z": self._samples.latents(index)}
        if (label := self._samples.label(index)) is not None:
            arrays["label"] = label
        if self._G.supports_noise:  # different for every image, as for published numbers
            arrays["noise"] = self._samples.noise_seeds(index)
        return arrays

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        ws = self._G.mapping(tensors["z"], tensors.get("label"))
        images = self._G.synthesis(ws, noise=tensors.get("noise", "const"))
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
        return tf.cast(tf.clip_by_value(images * 127.5 + 128, 0, 255), tf.uint8), finite


def generated_cache_key(G: Any, samples: Samples) -> KeyFields:
    """Fields of the cache key that determine generated images, except their number."""
    return {
        "weights": weights_digest(G),
        "precision": G.dtype_policy.name,
        "seed": samples.seed,
        "labels": None if samples.labels is None else samples.labels.origin,
    }


# --- Features ---------------------------------------------------------------------------------------------------------


class FeatureExtractor:
    """Computes statistics of image features.

    Args:
        detectors: detectors by name.
        cache: cache for data set statistics and interrupted passes.
        batch: images per batch on each replica.
        strategy: the replicas.
        progress: called after every batch, and while another process computes the same.

    Raises:
        FloatingPointError: (from all methods) images or features are not finite.
    """

    def __init__(
        self,
        detectors: Mapping[str, Detector],
        cache: Cache,
        batch: int,
        strategy: tf.distribute.Strategy,
        progress: ProgressCallback,
    ) -> None:
        self._detectors, self._cache, self._batch = detectors, cache, batch
        self._strategy, self._progress = strategy, progress
        self._traced: tuple[Any, Any] = (None, None)  # a generator, and its traced feature function

    def real(self, data: Images, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, FeatureStats]:
        """Return statistics of a data set; cached ones need no pass."""
        images = {"data": data.cache_digest, "part": data.part}  # for a large data set, the part is hashed for seconds
        fields = {request: self._cache_key_fields(request) | images for request in requests}
        cached, missing = self._load_cached(fields)
        if not missing:
            return cached
        with self._cache.unfinished(self._pass_key_fields(missing), self._waiting(missing)) as folder:
            computed, still_missing = self._load_cached(missing)  # another process may have finished them
            if still_missing:  # everything the folder is for, because it may hold partial results
                source = RealImages(data)
                run = _feature_function(source, self._detectors, self._strategy)
                computed = self._extract(source, run, missing, folder, "real images")
                for request, stats in computed.items():
                    self._cache.store(fields[request], stats)
        return cached | computed

    @contextmanager
    def generated(
        self, G: Any, samples: Samples, requests: Iterable[FeatureRequest]
    ) -> Iterator[dict[FeatureRequest, FeatureStats]]:
        """Yield statistics of a generator's images. Rows are on disk, and removed if the context ends without error.

        Later calls with the same generator, such as at the next snapshot of a training run, do not retrace.
        """
        fields = {request: self._cache_key_fields(request) for request in requests}
        source = GeneratedImages(G, samples)
        if self._traced[0] is not G:
            self._traced = (G, _feature_function(source, self._detectors, self._strategy))
        key_fields = self._pass_key_fields(fields) | generated_cache_key(G, samples)
        with self._cache.unfinished(key_fields, self._waiting(fields)) as folder:
            yield self._extract(source, self._traced[1], fields, folder, "generated images")

    def _waiting(self, requests: Iterable[FeatureRequest]) -> Callable[[], object]:
        """Function that reports that another process computes the same."""
        return partial(self._progress, "waiting for another process", 0, max(request.count for request in requests))

    def _cache_key_fields(self, request: FeatureRequest) -> KeyFields:
        return request.cache_key_fields() | {"detector_digest": self._detectors[request.detector].digest}

    def _pass_key_fields(self, fields: Mapping[FeatureRequest, KeyFields]) -> KeyFields:
        """Key fields of an interrupted pass, with everything that affects rounding, so that it resumes bit for bit."""
        return {
            "features": [fields[request] for request in sorted(fields)],
            "batch": self._batch,
            "replicas": self._strategy.num_replicas_in_sync,
            **VERSIONS,
        }

    def _load_cached(
        self, fields: Mapping[FeatureRequest, KeyFields]
    ) -> tuple[dict[FeatureRequest, FeatureStats], dict[FeatureRequest, KeyFields]]:
        """Return cached statistics, and the key fields of missing ones."""
        loaded = {request: self._cache.load(one) for request, one in fields.items()}
        cached = {request: stats for request, stats in loaded.items() if stats is not None}
        return cached, {request: one for request, one in fields.items() if request not in cached}

    def _extract(
        self, source: ImageSource, run: Any, requests: Iterable[FeatureRequest], folder: Path | None, task: str
    ) -> dict[FeatureRequest, FeatureStats]:
        """Run the source's images through `run`, its _feature_function; resume from the state saved in the folder."""
        requests, strategy = sorted(requests), self._strategy
        sizes = {r.output_name: self._detectors[r.detector].outputs[r.output] for r in requests}
        collector = FeatureCollector(requests, sizes, folder)
        batches = padded_batches(collector.num_done, collector.num_images, self._batch * strategy.num_replicas_in_sync)

        def prepare(batch: Batch) -> tuple[Batch, list[Arrays]]:
            return batch, [source.arrays(part) for part in np.split(batch.padded, strategy.num_replicas_in_sync)]

        def launch() -> Iterator[tuple[Batch, Any]]:
            pool = ThreadPoolExecutor(NUM_THREADS)
            for batch, parts in prefetch(prepare, batches, executor=pool, ahead=NUM_THREADS):
                yield batch, run(parts, collector.outputs_at(batch.start))

        self._progress(task, collector.num_done, collector.num_images)
        for batch, results in lookahead(launch()):
            count = batch.stop - batch.start
            features = {name: gather(strategy, value)[:count] for name, value in results.items()}
            _check_finite(source.noun, batch, features.pop(_FINITE), features)
            collector.add(features)
            self._progress(task, collector.num_done, collector.num_images)
        collector.save()
        return collector.stats()


def run_detector(detector: Detector | LaplacianPatches, images: tf.Tensor, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return a detector's features of images.

    Args:
        detector: the detector.
        images: uint8 [N, H, W, C].
        numbers: int32 [N], the images' positions among those that are measured.
    """
    return detector(images, numbers) if isinstance(detector, LaplacianPatches) else detector(images)


_FINITE: OutputName = ("", "finite")  # pseudo-output: whether each image is finite


def _feature_function(source: ImageSource, detectors: Mapping[str, Detector], strategy: tf.distribute.Strategy) -> Any:
    """Return the function (arrays of each replica, outputs) -> {output: features of each replica}."""

    def replica(tensors: Tensors, outputs: tuple[OutputName, ...]) -> dict[OutputName, tf.Tensor]:
        images, finite = source.images(tensors)
        numbers = tensors["numbers"]
        used = sorted({name for name, _ in outputs})
        features = {name: run_detector(detectors[name], images, numbers) for name in used}
        return {_FINITE: finite} | {(name, output): features[name][output] for name, output in outputs}

    return run_on_replicas(strategy, replica)


def _check_finite(
    noun: str, batch: Batch, finite: NDArray[np.bool_], features: Mapping[OutputName, NDArray[Any]]
) -> None:
    if not finite.all():
        raise FloatingPointError(f"images of {noun} {batch.start} to {batch.stop - 1} are not finite")
    for (detector, output), rows in features.items():
        check_finite(rows, f"{output} features of {detector} for {noun}", batch.start, batch.stop)


def lookahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield every item after fetching the next one, which a GPU computes while this one is processed."""
    previous: list[Item] = []
    for item in items:
        yield from previous
        previous = [item]
    yield from previous
