"""python -m sg3tf.metrics: metrics of a trained generator, one JSON line each.

python -m sg3tf.metrics --network=runs/00000-stylegan3-t-faces-batch32-gamma2 --metrics=eqt50k_int,eqr50k
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import tensorflow as tf
from tqdm import tqdm

import sg3tf
from sg3tf.checkpoints import load
from sg3tf.generator import Generator
from sg3tf.metrics import METRICS, check, compute
from sg3tf.metrics.samples import uniform_classes

_NETWORK = flags.DEFINE_string("network", None, ".keras file, checkpoint folder or run folder.", required=True)
_METRICS = flags.DEFINE_list("metrics", None, f"Any of {', '.join(METRICS)}.", required=True)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Latents; default: what published values were computed with.")
_BATCH = flags.DEFINE_integer("batch", 8, "Latents at a time.")
_SEED = flags.DEFINE_integer("seed", 0, "Of latents, classes and motions.")
_OUT = flags.DEFINE_string("out", None, "File that the lines are appended to, besides being printed.")


def main(argv: list[str]) -> int:
    """Prints a line for each metric; returns the exit status."""
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        G = load(_NETWORK.value)
        check(_METRICS.value, G.config)
        with Path(_OUT.value).open("a") if _OUT.value else contextlib.nullcontext() as out:
            for name in _METRICS.value:
                line = json.dumps(_measure(name, G))
                for file in filter(None, (sys.stdout, out)):
                    print(line, file=file, flush=True)
    except (OSError, ValueError, ArithmeticError) as error:
        return _fail(str(error))
    return 0


def _measure(name: str, G: Generator) -> dict[str, Any]:
    """The value, and everything that it takes to compute it again."""
    label_dim = G.config.label_dim
    with tqdm(desc=name, unit=" samples", file=sys.stderr, delay=0.1) as bar:  # 0.1 s: not beside a refusal
        values = compute(
            [name],
            G,
            num_samples=_NUM_SAMPLES.value,
            batch=_BATCH.value,
            seed=_SEED.value,
            labels=uniform_classes(label_dim, _SEED.value) if label_dim else None,
            progress=_shown_by(bar),
        )
    return {
        "metric": name,
        "value": values[name],
        "unit": METRICS[name].unit,
        "num_samples": _NUM_SAMPLES.value or METRICS[name].num_samples,
        "seed": _SEED.value,
        "batch": _BATCH.value,
        "labels": "uniform classes" if label_dim else None,
        "network": _NETWORK.value,
        "kimg": None,  # a network does not know how long it was trained
        "sg3tf": sg3tf.__version__,
        "tensorflow": tf.__version__,
    }


def _shown_by(bar: Any) -> Callable[[str, int, int], None]:
    def progress(name: str, done: int, count: int) -> None:
        bar.total = count
        bar.update(done - bar.n)

    return progress


def _fail(message: str) -> int:
    print(f"sg3tf.metrics: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
