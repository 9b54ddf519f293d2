"""examples/ablations.py measures, prints and plots the numbers of docs/ablations.md."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from sg3tf import Generator, latents
from sg3tf.metrics import equivariance
from sg3tf.metrics.equivariance import EquivarianceMetric, measure_equivariance
from sg3tf.metrics.samples import Samples

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow  # a process of its own

SIZE = {"channel_base": 64, "channel_max": 8}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[str], Path]:
    """Rows, lines of the table, and the picture."""
    out = tmp_path_factory.mktemp("ablations") / "result"
    flags = ["--configs=a,d", "--resolutions=16", "--networks=2", "--samples=2", f"--out={out}"]
    flags += [f"--{name}={value}" for name, value in SIZE.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, str(ROOT / "examples" / "ablations.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(Path(f"{out}.json").read_text()), done.stdout.splitlines(), Path(f"{out}.png")


def test_rows_and_table(results: Any) -> None:
    rows, lines, _ = results
    assert [(row["config"], row["seed"]) for row in rows] == [("a", 0), ("d", 0), ("a", 1), ("d", 1)]
    assert "EQ-T" not in rows[0]  # a constant cannot be transformed
    a, d = lines[-2:]
    assert a == "| A | - | - | - | 5.14, -, - |"
    values = [rows[1]["EQ-T"], rows[3]["EQ-T"]]
    assert d.startswith(f"| D | {np.mean(values):.1f} ± {abs(np.diff(values)[0]) / 2**0.5:.1f} | ")
    assert d.endswith("| 5.21, 19.47, 10.41 |")


def test_values_are_those_of_images_with_a_contrast_of_one_half(results: Any) -> None:
    row = results[0][3]
    keras.utils.set_random_seed(1)
    G = Generator.from_preset("stylegan3-d", 16, **SIZE, magnitude_ema_beta=0.0)
    z = latents.z_from_seeds(range(32), 512)
    G(z, update_emas=True)
    G.config = dataclasses.replace(G.config, output_scale=0.25 * 0.5 / row["contrast"])
    assert np.sqrt(np.mean(np.var(G(z), axis=(1, 2)))) == pytest.approx(0.5, rel=1e-3)
    motion = EquivarianceMetric(equivariance.sample_integer_translation, equivariance.compare_translated)
    value = measure_equivariance(motion, G, Samples(2, 512, 1, None), batch=2)
    assert value == pytest.approx(row["EQ-T"], abs=0.01)


def test_picture(results: Any) -> None:
    with Image.open(results[2]) as image:
        assert image.width > 1000 and len(np.unique(np.asarray(image))) > 50
