"""One pass over real images and one over generated ones, for all metrics together: what is cached, and what goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

import sg3tf
from sg3tf.checkpoints import weights_digest
from sg3tf.metrics.cache import Cache, Description
from sg3tf.metrics.collection import Collection, Kept, Wanted
from sg3tf.metrics.data import Images
from sg3tf.metrics.detectors import Detector
from sg3tf.metrics.features import GeneratedImages, RealImages, Source, extract
from sg3tf.metrics.samples import Samples

#: What is done, how much of it, how much there is in all.
Progress = Callable[[str, int, int], object]


#: That may change the last digits.
VERSIONS = {"sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}


def of_generated(G: Any, samples: Samples) -> Description:
    """What decides on generated images, but for how many they are."""
    labels = samples.labels and samples.labels.origin
    return {"weights": weights_digest(G), "seed": samples.seed, "labels": labels}


class Passes:
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
        progress: Progress,
    ) -> None:
        self._detectors, self._cache, self._batch = detectors, cache, batch
        self._strategy, self._progress = strategy, progress

    def real(self, data: Images, wanted: Iterable[Wanted]) -> dict[Wanted, Kept]:
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
    def generated(self, G: Any, samples: Samples, wanted: Iterable[Wanted]) -> Iterator[dict[Wanted, Kept]]:
        """Features of a generator's images; they stay on the disk as long as this lasts, or if it fails."""
        described = {w: self._describe(w) for w in wanted}
        with self._cache.unfinished(self._describe_pass(described) | of_generated(G, samples)) as folder:
            yield self._collected(GeneratedImages(G, samples), described, folder, "generated images")

    def _describe(self, w: Wanted) -> Description:
        return dataclasses.asdict(w) | {"detector_digest": self._detectors[w.detector].digest}

    def _describe_pass(self, described: Mapping[Wanted, Description]) -> Description:
        """With all that may change the last digits, as a pass that goes on ends as one that was not interrupted."""
        return {
            "features": [described[w] for w in sorted(described)],
            "batch": self._batch,
            "replicas": self._strategy.num_replicas_in_sync,
            **VERSIONS,
        }

    def _cached(self, described: Mapping[Wanted, Description]) -> tuple[dict[Wanted, Kept], dict[Wanted, Description]]:
        """What the cache has, and the descriptions of what it lacks."""
        found = {w: self._cache.load(description) for w, description in described.items()}
        kept = {w: features for w, features in found.items() if features is not None}
        return kept, {w: description for w, description in described.items() if w not in kept}

    def _collected(self, source: Source, wanted: Iterable[Wanted], folder: Any, name: str) -> dict[Wanted, Kept]:
        wanted = sorted(wanted)
        sizes = {w.source: self._detectors[w.detector].outputs[w.output] for w in wanted}
        collection = Collection(wanted, sizes, folder)
        progress = partial(self._progress, name)
        extract(source, self._detectors, collection, self._batch, self._strategy, progress)
        collection.save()
        return collection.kept()
