"""Passes over real and generated images that extract the features of all metrics at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import sg3tf
from sg3tf.metrics.cache import Cache, Description
from sg3tf.metrics.detectors import Detector
from sg3tf.metrics.feature_stats import Collection, FeatureRequest, FeatureStats, Output, Rows
from sg3tf.metrics.samples import Images, Samples
from sg3tf.models.loading import weights_digest
from sg3tf.utils.parallel import prefetch

# ---------------------------------------------------------------------------------------------------------------------
# Passes over images, real and generated: every image is made once and goes through every detector once.
# ---------------------------------------------------------------------------------------------------------------------

THREADS = 4  # that read images or draw latents while devices compute

Index = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]
Tensors = dict[str, tf.Tensor]
Progress = Callable[[int, int], object]
Item = TypeVar("Item")


class Source(Protocol):
    """Images by their positions.

    Attributes:
        kind: how messages name them.
    """

    kind: str

    def arrays(self, index: Index) -> Arrays:
        """What images are made of, on the host."""

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Of the arrays as tensors: images, uint8 [N, R, R, C], and whether each was finite, bool [N]."""


class RealImages:
    """Those of a data set, as they are."""

    kind = "images"

    def __init__(self, data: Images) -> None:
        self._data = data

    def arrays(self, index: Index) -> Arrays:
        return {"images": np.stack([self._data[int(i)][0] for i in index])}

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        return tensors["images"], tf.ones(tf.shape(tensors["images"])[:1], tf.bool)


class GeneratedImages:
    """Those of a generator, cut down to 8 bits as published numbers had them: floor(127.5 x + 128), clipped."""

    kind = "samples"

    def __init__(self, G: Any, samples: Samples) -> None:
        self._G, self._samples = G, samples
        self._noise = G.config.noise  # each image its own, as published

    def arrays(self, index: Index) -> Arrays:
        arrays: Arrays = {"z": self._samples.latents(index)}
        if (label := self._samples.label(index)) is not None:
            arrays["label"] = label
        if self._noise:
            arrays["noise"] = self._samples.noise(index)
        return arrays

    def images(self, tensors: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        ws = self._G.mapping(tensors["z"], tensors.get("label"))
        images = self._G.synthesis(ws, **({"noise": tensors["noise"]} if self._noise else {}))
        finite = tf.reduce_all(tf.math.is_finite(images), axis=[1, 2, 3])
        return tf.cast(tf.clip_by_value(images * 127.5 + 128, 0, 255), tf.uint8), finite


def extract(
    source: Source,
    detectors: Mapping[str, Detector],
    collection: Collection,
    batch: int,
    strategy: tf.distribute.Strategy,
    progress: Progress,
) -> None:
    """Fills a collection with the features of a source's images, from where it is to the end.

    Args:
        source: makes the images.
        detectors: by name.
        collection: takes in the features in the order of the images.
        batch: images at a time, on each replica.
        strategy: the replicas.
        progress: called with images done and images in all.

    Raises:
        FloatingPointError: images or features that are not finite.
    """
    step = batch * strategy.num_replicas_in_sync
    starts = range(collection.done, collection.count, step)
    run = _runner(source, detectors, strategy)

    def prepared(start: int) -> tuple[int, list[Arrays]]:
        index = np.minimum(np.arange(start, start + step), collection.count - 1)  # all of one size, for one graph
        return start, [source.arrays(part) for part in np.split(index, strategy.num_replicas_in_sync)]

    def launched() -> Iterator[tuple[int, Any]]:
        for start, parts in prefetch(prepared, starts, executor=ThreadPoolExecutor(THREADS), ahead=THREADS):
            yield start, run(parts, collection.outputs(start))

    progress(collection.done, collection.count)
    for start, results in _one_behind(launched()):
        count = min(step, collection.count - start)
        features = {output: _rows(strategy, value)[:count] for output, value in results.items()}
        _check(source.kind, start, features.pop(_FINITE), features)
        collection.add(features)
        progress(collection.done, collection.count)


_FINITE: Output = ("", "finite")


def _runner(source: Source, detectors: Mapping[str, Detector], strategy: tf.distribute.Strategy) -> Any:
    """(arrays of each replica, wanted outputs) -> {output: features of each replica}."""

    @tf.function(autograph=False)
    def run(values: Any, outputs: tuple[Output, ...]) -> Any:
        def replica(tensors: Tensors) -> dict[Output, tf.Tensor]:
            images, finite = source.images(tensors)
            features = {name: detectors[name](images) for name in sorted({name for name, _ in outputs})}
            return {_FINITE: finite} | {(name, output): features[name][output] for name, output in outputs}

        return strategy.run(replica, args=(values,))

    def of_arrays(parts: list[Arrays], outputs: tuple[Output, ...]) -> Any:
        def of_replica(context: Any) -> Tensors:
            part = parts[context.replica_id_in_sync_group]
            return {name: tf.convert_to_tensor(array) for name, array in part.items()}

        return run(strategy.experimental_distribute_values_from_function(of_replica), outputs)

    return of_arrays


def _rows(strategy: tf.distribute.Strategy, value: Any) -> NDArray[Any]:
    return np.concatenate([part.numpy() for part in strategy.experimental_local_results(value)])


def _check(kind: str, start: int, finite: NDArray[np.bool_], features: Mapping[Output, Rows]) -> None:
    end = start + len(finite) - 1
    if not finite.all():
        raise FloatingPointError(f"images of {kind} {start} to {end} are not finite")
    for (detector, output), rows in features.items():
        if not np.isfinite(rows).all():
            raise FloatingPointError(f"{output} of {detector} for {kind} {start} to {end} is not finite")


def _one_behind(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each when the next one has been asked for: a GPU computes that while this is looked at."""
    before = list[Item]()
    for item in items:
        yield from before
        before = [item]
    yield from before


# ---------------------------------------------------------------------------------------------------------------------
# One pass over real images and one over generated ones, for all metrics together: what is cached, and what goes on.
# ---------------------------------------------------------------------------------------------------------------------

#: What is done, how much of it, how much there is in all.
ProgressCallback = Callable[[str, int, int], object]


#: That may change the last digits.
VERSIONS = {"sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}


def generated_cache_key(G: Any, samples: Samples) -> Description:
    """What decides on generated images, but for how many they are."""
    labels = samples.labels and samples.labels.origin
    return {"weights": weights_digest(G), "seed": samples.seed, "labels": labels}


class FeatureExtractor:
    """Makes features of images.

    Args:
        detectors: by name.
        cache: for features of data, and for passes that were interrupted.
        batch: images at a time, on each replica.
        strategy: the replicas.
        progress: called after every batch.
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

    def real(self, data: Images, wanted: Iterable[FeatureRequest]) -> dict[FeatureRequest, FeatureStats]:
        """Features of a data set; those that the cache has take no pass."""
        described = {w: self._describe(w) | {"data": data.digest, "part": data.part} for w in wanted}
        kept, missing = self._cached(described)
        if not missing:
            return kept
        with self._cache.unfinished(self._describe_pass(missing)) as folder:
            made, lacking = self._cached(missing)  # another process may have made them while this one waited
            if lacking:
                made = self._collected(RealImages(data), missing, folder, "real images")  # all that the folder is for
                for w, features in made.items():
                    self._cache.store(described[w], features)
        return kept | made

    @contextmanager
    def generated(
        self, G: Any, samples: Samples, wanted: Iterable[FeatureRequest]
    ) -> Iterator[dict[FeatureRequest, FeatureStats]]:
        """Features of a generator's images; they stay on the disk as long as this lasts, or if it fails."""
        described = {w: self._describe(w) for w in wanted}
        with self._cache.unfinished(self._describe_pass(described) | generated_cache_key(G, samples)) as folder:
            yield self._collected(GeneratedImages(G, samples), described, folder, "generated images")

    def _describe(self, w: FeatureRequest) -> Description:
        return dataclasses.asdict(w) | {"detector_digest": self._detectors[w.detector].digest}

    def _describe_pass(self, described: Mapping[FeatureRequest, Description]) -> Description:
        """With all that may change the last digits, as a pass that goes on ends as one that was not interrupted."""
        return {
            "features": [described[w] for w in sorted(described)],
            "batch": self._batch,
            "replicas": self._strategy.num_replicas_in_sync,
            **VERSIONS,
        }

    def _cached(
        self, described: Mapping[FeatureRequest, Description]
    ) -> tuple[dict[FeatureRequest, FeatureStats], dict[FeatureRequest, Description]]:
        """What the cache has, and the descriptions of what it lacks."""
        found = {w: self._cache.load(description) for w, description in described.items()}
        kept = {w: features for w, features in found.items() if features is not None}
        return kept, {w: description for w, description in described.items() if w not in kept}

    def _collected(
        self, source: Source, wanted: Iterable[FeatureRequest], folder: Any, name: str
    ) -> dict[FeatureRequest, FeatureStats]:
        wanted = sorted(wanted)
        sizes = {w.source: self._detectors[w.detector].outputs[w.output] for w in wanted}
        collection = Collection(wanted, sizes, folder)
        progress = partial(self._progress, name)
        extract(source, self._detectors, collection, self._batch, self._strategy, progress)
        collection.save()
        return collection.kept()
