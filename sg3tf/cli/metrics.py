"""python -m sg3tf.cli.metrics: metrics of a trained generator, one JSON line each.

python -m sg3tf.cli.metrics --network=runs/00000-stylegan3-t-faces-batch32-gamma2 --data=datasets/faces \\
    --metrics=fid50k_full,eqt50k_int --detector_dir=detectors --batch=32
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import tensorflow as tf
from tqdm import tqdm

import sg3tf
from sg3tf.metrics import METRICS, Evaluation
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.metrics.samples import Images, resize_filter, uniform_classes
from sg3tf.models.loading import load, weights_digest

_NETWORK = flags.DEFINE_string("network", None, ".keras file, checkpoint folder or run folder.", required=True)
_METRICS = flags.DEFINE_list("metrics", None, f"Any of {', '.join(METRICS)}.", required=True)
_DATA = flags.DEFINE_string("data", None, "Data set, as --data of trainer.main; also what labels are drawn from.")
_DETECTOR_DIR = flags.DEFINE_string("detector_dir", None, "Folder with the networks that metrics look with.")
_CACHE_DIR = flags.DEFINE_string(
    "cache_dir", str(default_cache_dir()), "Where features of data stay, and interrupted work; empty: nowhere."
)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Latents; default: what published values were computed with.")
_BATCH = flags.DEFINE_integer("batch", 8, "Latents at a time, on each device.")
_SEED = flags.DEFINE_integer("seed", 0, "Of latents, labels, motions and subsets.")
_OUT = flags.DEFINE_string("out", None, "File that the lines are appended to, besides being printed.")


#: How detectors bring images to the size that they look at.
_RESIZE = {
    "inception": "bilinear to 299x299, by the network's own graph",
    "vgg16": "bilinear to 224x224, as in TensorFlow 1",
    "lpips": "means of boxes, to 256x256 where larger",
}


def main(argv: list[str]) -> int:
    """Prints a line for each metric; returns the exit status."""
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        strategy = _all_devices()
        with strategy.scope():
            G = load(_NETWORK.value)
        uniform = G.config.label_dim and not _DATA.value
        labels = uniform_classes(G.config.label_dim, _SEED.value) if uniform else None
        with contextlib.closing(_Bars()) as bars:
            evaluation = Evaluation(
                _METRICS.value,
                G,
                _DATA.value or None,
                detector_dir=_DETECTOR_DIR.value,
                cache_dir=_CACHE_DIR.value or None,
                num_samples=_NUM_SAMPLES.value,
                batch=_BATCH.value,
                seed=_SEED.value,
                labels=labels,
                strategy=strategy,
                progress=bars.show,
            )
            with Path(_OUT.value).open("a") if _OUT.value else contextlib.nullcontext() as out:
                for line in _lines(evaluation, _common(evaluation, G, strategy)):
                    for file in filter(None, (sys.stdout, out)):
                        print(json.dumps(line), file=file, flush=True)
    except (OSError, ValueError, ArithmeticError) as error:
        return _fail(str(error))
    return 0


def _all_devices() -> tf.distribute.Strategy:
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def _lines(evaluation: Evaluation, common: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Values, and everything that it takes to compute them again."""
    start = time.monotonic()
    for result in evaluation:
        yield {
            "metric": result.metric,
            "results": result.values,
            "unit": result.unit,
            "num_samples": result.num_samples,
            "num_real": result.num_real,
            "seconds": round(time.monotonic() - start, 3),
            **common,
        }
        start = time.monotonic()


def _common(evaluation: Evaluation, G: sg3tf.Generator, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """What all lines have in common."""
    return {
        "seed": _SEED.value,
        "batch": _BATCH.value,
        "replicas": strategy.num_replicas_in_sync,
        "labels": evaluation.labels and evaluation.labels.origin,
        "network": _NETWORK.value,
        "weights": weights_digest(G),
        "kimg": None,  # a network does not know how long it was trained
        "data": None if evaluation.data is None else _describe(evaluation.data),
        "detectors": {
            name: {"digest": detector.digest, "resize": _RESIZE[name]}
            for name, detector in evaluation.detectors.items()
        },
        "sg3tf": sg3tf.__version__,
        "tensorflow": tf.__version__,
    }


def _describe(data: Images) -> dict[str, Any]:
    return {
        "path": str(data.path),
        "digest": data.digest,
        "part": data.part,
        "num_images": len(data),
        "resize_filter": resize_filter(data),
    }


class _Bars:
    """A progress bar with the time that is left, for one thing after the other."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, what: str, done: int, count: int) -> None:
        if self._bar is None or self._bar.desc != what:
            self.close()
            self._bar = tqdm(desc=what, total=count, initial=done, unit="img", file=sys.stderr)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _fail(message: str) -> int:
    print(f"sg3tf.metrics: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
