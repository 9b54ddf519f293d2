"""Calls of the operating system that fail, and flipped bits: what was there stays readable, and files are named.

SG3TF_FAULTS=N tries N cases of each instead of a few, and SG3TF_FAULTS_SEED=S chooses others.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import sg3tf
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.generate import latents_file
from sg3tf.generate.keras_network import KerasNetwork
from sg3tf.generate.latents_file import Latents
from sg3tf.images import save_png
from sg3tf.metrics.feature_stats import MOMENTS, ROWS, FeatureCollector, FeatureRequest
from sg3tf.utils.checksums import verify_checksums, write_checksums
from tests.helpers.bit_flips import SEED, cases, flips

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    path = tmp_path_factory.mktemp("library") / "faults.so"
    source = ROOT / "tests" / "helpers" / "fault_injection.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(path), "-ldl"], check=True)
    return path


FILES = {"build": 8, "build-ffhq": 4, "cache": 8, "metric": 4, "latents": 4, "picture": 4, "lines": 8, "video": 4}
NETWORKS = {"checkpoint": 8, "snapshot": 4, "npz": 4, "conversion": 2, "export": 2}


@pytest.mark.parametrize("few", [FILES, pytest.param(NETWORKS, marks=pytest.mark.slow)], ids=["files", "networks"])
def test_a_call_that_fails_costs_nothing_and_is_named(library, tmp_path, few):
    """The networks are slow: a process that imports TensorFlow, and seconds for each export."""
    arguments = [",".join(f"{name}:{cases(limit)}" for name, limit in few.items()), str(tmp_path), str(SEED)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.fault_worker", *arguments],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    counts = Counter((outcome["writer"], "raised" if outcome["raised"] else "survived") for outcome in outcomes)
    print(dict(counts))
    for name, limit in few.items():
        assert counts[name, "raised"] + counts[name, "survived"] >= limit, counts
    assert {what for _, what in counts} == {"raised", "survived"}
    for outcome in outcomes:
        assert outcome["state"] in ("old", "new") and outcome["call"], outcome
        if not outcome["raised"]:  # without consequences, or tried again
            assert outcome["state"] == "new", outcome
            continue
        folder = tmp_path / outcome["writer"] / "the folder"
        assert outcome["error"] and outcome["error"] in outcome["message"], outcome  # no half of a write raises
        assert str(folder) in outcome["message"], outcome


# --- Flipped bits -----------------------------------------------------------------------------------------------------


def test_flipped_bits_in_a_checkpoint_are_found_before_it_is_read(tmp_path):
    for name, size in {"state.index": 300, "state.data-00000-of-00001": 5000, "progress.json": 60}.items():
        (tmp_path / name).write_bytes(random.Random(0).randbytes(size))
    write_checksums(tmp_path)
    assert verify_checksums(tmp_path) is None
    for name in ("state.index", "state.data-00000-of-00001", "progress.json"):
        for place in flips(tmp_path / name, few=50):
            assert name in (verify_checksums(tmp_path) or ""), (name, place)
    for place in flips(tmp_path / "sha256.json", few=100):
        problem = verify_checksums(tmp_path)
        assert problem or json.loads((tmp_path / "sha256.json").read_text()), place


@pytest.mark.parametrize("kind", ["shards", "ffhq", "faces.zip"])
def test_flipped_bits_in_a_data_set_are_found_or_harmless(noise, tmp_path, kind):
    """Of images and labels, whether one reads both or the label alone."""
    for i, image in enumerate(noise(6, 16)):
        save_png(tmp_path / "faces" / "abc"[i % 3] / f"{i}.png", image)
    path = tmp_path / kind
    if kind == "faces.zip":
        shutil.make_archive(str(tmp_path / "faces"), "zip", tmp_path / "faces")
    else:
        build(tmp_path / "faces", path, BuildConfig(resolution=16, shards=2, format=kind))

    def content():
        dataset = open_dataset(path, resolution=16, use_labels=True)
        both = [dataset[i] for i in range(len(dataset))]
        return [(image.tobytes(), label.tolist(), dataset.label(i).tolist()) for i, (image, label) in enumerate(both)]

    expected = content()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        for place in flips(file, few=15):
            try:
                found = content()
            except DataError as error:
                assert path.name in str(error) and "\n" not in str(error), (file, place, error)
            else:
                assert found == expected, (file, place)


def test_flipped_bits_in_the_state_of_a_metric_are_found_or_harmless(tmp_path, caplog):
    """A pass that was interrupted goes on from equal statistics, or starts again and says which file is damaged."""
    rows, output = np.random.default_rng(0).standard_normal([20, 4]).astype(np.float32), ("detector", "output")
    requests = [FeatureRequest(*output, statistic, 30) for statistic in (MOMENTS, ROWS)]

    def collector():
        return FeatureCollector(requests, {output: 4}, tmp_path)

    first = collector()
    first.add({output: rows})
    first.save()
    saved = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(saved) == 2
    for file in saved:
        for place in flips(file, few=20):
            caplog.clear()
            found = collector()
            if found.num_done:
                moments, features = found.stats().values()
                np.testing.assert_array_equal(moments.mean, rows.astype(np.float64).mean(0), err_msg=str(place))
                np.testing.assert_array_equal(features[:20], rows, err_msg=f"{file.name} {place}")
            else:
                assert str(tmp_path) in caplog.text and "damaged" in caplog.text, place
            for other, content in saved.items():  # a pass that starts again writes them anew
                other.write_bytes(content)


@pytest.fixture(scope="module")
def G():
    return sg3tf.Generator.from_preset("stylegan2", 8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)


def test_flipped_bits_in_a_keras_file_are_found_or_harmless(G, tmp_path):
    file = tmp_path / "g.keras"
    G.save(file)
    for place in flips(file, few=12):
        try:
            found = sg3tf.load(file).get_weights()
        except ValueError as error:
            assert str(error).startswith(str(file)), (place, error)
        else:
            for one, other in zip(found, G.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other, err_msg=str(place))


def test_flipped_bits_in_latents_are_found_or_harmless(G, tmp_path):
    network, file = KerasNetwork(G, "tiny"), tmp_path / "latents.npz"
    rng = np.random.default_rng(0)
    ws = rng.standard_normal([2, network.num_ws, 8]).astype(np.float32)
    expected = Latents(ws, seeds=np.array([3, 4]), psi=np.float32([1, 0.5]))
    latents_file.save(file, expected)
    for place in flips(file, few=200):
        try:
            found = latents_file.load(file, network)
        except (ValueError, OSError) as error:
            assert file.name in str(error) and "\n" not in str(error), (place, error)
        else:
            assert found.arrays().keys() == expected.arrays().keys(), place
            for name, array in found.arrays().items():
                np.testing.assert_array_equal(array, expected.arrays()[name], err_msg=f"{name} {place}")
