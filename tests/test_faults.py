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
from pathlib import Path

import numpy as np
import pytest

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.generate import latents_file
from sg3tf.generate.keras_network import KerasNetwork
from sg3tf.generate.latents_file import Latents
from sg3tf.utils.files import verify_checksums, write_checksums

ROOT = Path(__file__).parents[1]
SEED = int(os.environ.get("SG3TF_FAULTS_SEED", "0"))


def cases(few):
    return int(os.environ.get("SG3TF_FAULTS", few))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    path = tmp_path_factory.mktemp("library") / "faults.so"
    source = ROOT / "tests" / "helpers" / "fault_injection.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(path), "-ldl"], check=True)
    return path


@pytest.mark.slow  # a process that imports TensorFlow, and seconds for each export
@pytest.mark.parametrize(("what", "few"), [("checkpoint", 8), ("export", 2)])
def test_a_call_that_fails_costs_nothing_and_is_named(library, faces, tmp_path, what, few):
    """Of a save over an old checkpoint, and of an export beside an old version."""
    folder = tmp_path / "the folder"
    folder.mkdir()
    arguments = [what, str(faces), str(folder), str(cases(few)), str(SEED)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.fault_worker", *arguments],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) >= few and results[0]["calls"] > 20
    for result in results:
        assert result["state"] in ("old", "new"), result
        assert result["call"], result
        assert result["error"] or not result["raised"], result
        if not result["raised"]:  # without consequences, or tried again
            assert result["state"] == "new", result
            continue
        assert str(folder) in result["message"] and result["error"] in result["message"], result
    assert any(result["raised"] for result in results)
    print({key: sum(bool(result["raised"]) == key for result in results) for key in (True, False)})


# --- Flipped bits -----------------------------------------------------------------------------------------------------


def flips(file, few):
    """Flip a bit of the file, and put it back afterwards, at one random place after another."""
    before, draw = file.read_bytes(), random.Random(SEED)
    for _ in range(cases(few)):
        content, place = bytearray(before), draw.randrange(len(before))
        content[place] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        yield place
    file.write_bytes(before)


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


def test_flipped_bits_in_records_are_found_or_harmless(unlabeled, tmp_path):
    folder = tmp_path / "faces"
    shutil.copytree(unlabeled, folder)

    def images():
        dataset = open_dataset(folder)
        return np.stack([dataset[i][0] for i in range(len(dataset))])

    expected = images()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        for place in flips(file, few=15):
            try:
                found = images()
            except (DataError, ValueError) as error:
                assert folder.name in str(error) and "\n" not in str(error), (file, place, error)
            else:
                np.testing.assert_array_equal(found, expected, err_msg=f"{file.name} {place}")


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
