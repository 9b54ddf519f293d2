"""Try an exported version before anyone can see it, as TFX's InfraValidator does.

A fresh process loads it as a stock server does and answers a canary request for every signature; the answers are
compared with the model's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving import canary

#: Largest difference of float outputs, as a share of the largest number; in 8 bits one level, where rounding decides.
TOLERANCE = 1e-4
_LEVELS = 1


class ValidationError(Exception):
    """The exported model is not the model; one line says where."""


def validate(folder: Path, source: canary.Source, requests: Sequence[canary.Request]) -> dict[str, Any]:
    """Have a process without this project answer the warm-up requests in `folder`, and compare.

    Args:
      folder: version folder, with the requests as warm-up.
      source: what was exported.
      requests: what the warm-up file holds.

    Returns:
      What it took, on the processor of this machine, for the metadata.

    Raises:
      ValidationError: it does not load, an answer is missing, or one differs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers"
        took = _run(folder.resolve(), answers, Path(scratch))
        differences = [
            _largest_difference(request, source.answer(request), answer)
            for request, answer in zip(requests, _read(answers), strict=True)
        ]
    return {
        "device": "CPU",
        "load_ms": took["load_ms"],
        "latencies_ms": [
            {"signature": request.signature, "batch": request.batch, "first": first, "second": second}
            for request, (first, second) in zip(requests, took["latencies_ms"], strict=True)
        ],
        "largest_difference": max(differences),
    }


def _run(folder: Path, answers: Path, scratch: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("stock_loader.py")
    command = [sys.executable, "-I", str(script), str(folder), str(answers)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise ValidationError(f"the process that loads it was ended by signal {-done.returncode}; out of memory?")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ValidationError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _read(answers: Path) -> Iterator[dict[str, np.ndarray]]:
    for record in tf.data.TFRecordDataset(str(answers)).as_numpy_iterator():
        outputs = predict_pb2.PredictResponse.FromString(record).outputs
        yield {name: canary.decoded(name, tf.make_ndarray(value)) for name, value in outputs.items()}


def _largest_difference(
    request: canary.Request, expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]
) -> float:
    """Of the float outputs, relative."""
    where = f"signature {request.signature}, batch {request.batch}"
    if set(answer) != set(expected):
        raise ValidationError(f"{where}: outputs {sorted(answer)} instead of {sorted(expected)}")
    largest = 0.0
    for name, wanted in expected.items():
        got = answer[name]
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            raise ValidationError(f"{where}: {name} is {got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}")
        if not np.isfinite(got).all():
            raise ValidationError(f"{where}: {name} is not finite")
        difference = np.abs(got.astype(np.float64) - wanted).max()
        allowed = _LEVELS if got.dtype == np.uint8 else TOLERANCE * np.abs(wanted).max()
        if not difference <= allowed:
            raise ValidationError(
                f"{where}: {name} differs from the model's by {difference:.3g}; {allowed:.3g} is allowed"
            )
        if got.dtype != np.uint8:
            largest = max(largest, float(difference / max(np.abs(wanted).max(), 1e-30)))
    return largest
