"""python -m sg3tf.metrics; one process runs all command lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.metrics import compute
from sg3tf.metrics.samples import uniform_classes

PROGRAM = """
import contextlib, io, json, sys
from absl import flags
from absl.testing import flagsaver
from sg3tf.metrics.__main__ import main

results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(flags.FLAGS(["metrics", *arguments]))
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""

Result = tuple[int, str, str]  # exit status, standard output, standard error


def run(*lines: list[str]) -> list[Result]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with labels."""
    keras.utils.set_random_seed(0)
    width = {"channel_base": 128, "channel_max": 4, "z_dim": 4, "w_dim": 4}
    path = tmp_path_factory.mktemp("network") / "network-snapshot-000000.keras"
    sg3tf.Generator.from_preset("stylegan3-t", resolution=16, label_dim=2, **width).save(path)
    return path


@pytest.mark.slow
def test_command(network: Path, tmp_path: Path):
    good = [f"--network={network}", "--metrics=eqt50k_int,eqt50k_frac", "--num_samples=3", "--seed=4"]
    out = tmp_path / "metrics.jsonl"
    out.write_text("{}\n")
    (status, printed, shown), *refused = run(
        [*good, f"--out={out}"],
        [*good, "eqr50k"],
        [*good, "--metrics=fid"],
        [*good, "--network=missing.keras"],
        [*good, "--num_samples=0"],
        [*good, f"--out={tmp_path}/missing/metrics.jsonl"],
    )

    assert status == 0 and "3/3" in shown, shown
    assert out.read_text() == "{}\n" + printed
    lines = [json.loads(line) for line in printed.splitlines()]
    G, labels = sg3tf.load(network), uniform_classes(2, seed=4)
    values = [line.pop("value") for line in lines]
    expected = compute(["eqt50k_int"], G, num_samples=3, seed=4, labels=labels)["eqt50k_int"]
    assert values == pytest.approx([expected, expected], abs=10) and values[0] == pytest.approx(expected, abs=1e-3)
    common = {"unit": "dB", "num_samples": 3, "seed": 4, "batch": 8, "labels": "uniform classes", "kimg": None}
    common |= {"network": str(network), "sg3tf": sg3tf.__version__, "tensorflow": tf.__version__}
    assert lines == [{"metric": name, **common} for name in ("eqt50k_int", "eqt50k_frac")]

    reasons = ["'eqr50k'", "metrics='fid'", "missing.keras", "num_samples=0", "missing/metrics"]
    for (status, printed, shown), reason in zip(refused, reasons, strict=True):
        assert status == 1 and not printed, (reason, printed)
        assert shown.startswith("sg3tf.metrics: ") and reason in shown and shown.count("\n") == 1, shown


def test_tensorflow_waits_for_its_log_level():
    """Else its start-up notices stand beside a refusal."""
    check = "import sys, sg3tf.metrics; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
