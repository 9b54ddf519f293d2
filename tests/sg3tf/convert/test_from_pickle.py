"""Conversion of official pickles: parameters bit for bit, images of the reference, errors without traces."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from sg3tf.cli import main as console
from sg3tf.convert import nvidia_pickle
from sg3tf.convert.from_pickle import build_model, convert_pickle
from sg3tf.convert.official_network import UnsupportedNetworkError
from sg3tf.convert.weights import ParameterMismatchError, to_arrays
from sg3tf.models import hub
from sg3tf.models.loading import load
from tests.conftest import Golden
from tests.helpers.dtype_policy import global_dtype_policy
from tests.helpers.numerics import nchw, nhwc, relative_error
from tests.helpers.official_networks import OPTIONS, parameters, stored
from tests.helpers.official_writer import dumps, network


def pickled(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "network.pkl"
    path.write_bytes(dumps(content, protocol))
    return path


@pytest.mark.parametrize("name", ["generator_t32", "generator_r32", "generator_sg2_32"])
def test_golden_images(name: str, golden: Golden, tmp_path: Path) -> None:
    arrays = golden(name)
    data_options = {"class_name": "training.dataset.ImageFolderDataset", "resolution": 32, "xflip": False}
    content = {"G": None, "G_ema": stored(name, arrays), "training_set_kwargs": data_options, "augment_pipe": None}
    path = pickled(tmp_path, content)

    folder = convert_pickle(path, tmp_path / "out", license="CC0")

    assert sorted(file.name for file in folder.iterdir()) == ["G_ema.keras", "metadata.json"]
    G = load(folder / "G_ema.keras")
    assert_same(to_arrays(G), parameters(arrays))
    z, label = arrays["z"], arrays.get("c")
    images = G(z if label is None else {"z": z, "label": label})
    assert relative_error(nchw(images), arrays["image_nchw"]) < 1e-5
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["license"] == "CC0"
    assert metadata["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert metadata["networks"]["G_ema"]["training_set_options"] == data_options
    assert metadata["networks"]["G_ema"]["options"] == OPTIONS[name]
    assert metadata["networks"]["G_ema"]["config"]["resolution"] == 32


def test_networks_compute_in_float32_whatever_the_global_policy(golden: Golden, tmp_path: Path) -> None:
    content = {"G_ema": stored("generator_sg2_32", golden("generator_sg2_32"))}
    path = pickled(tmp_path, content | {"D": stored("training_step", golden("training_step"))})
    with global_dtype_policy("mixed_float16"):
        for name in ("G_ema", "D"):
            assert build_model(nvidia_pickle.read(path, name)).dtype_policy.name == "float32"


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "from-pickle", "--network=https://host/x.pkl", f"--outdir={tmp_path / 'out'}"]
    assert console.main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "https://host/x.pkl: the digest is missing" in line and line.endswith("download the file and give its path")
    (tmp_path / "x.pkl").write_bytes(b"")
    monkeypatch.setattr(hub, "fetch", lambda address: tmp_path / "x.pkl")
    assert console.main(command) == 1
    assert f"{tmp_path / 'x.pkl'}: " in capsys.readouterr().err


def assert_same(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare bit for bit, under the same names."""
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, strict=True)


def test_golden_logits(golden: Golden, tmp_path: Path) -> None:
    arrays = golden("training_step")
    path = pickled(tmp_path, {"D": stored("training_step", arrays)})

    folder = convert_pickle(path, tmp_path / "out", ["D"])

    D = keras.models.load_model(folder / "D.keras")
    assert_same(to_arrays(D), parameters(arrays, "D/"))
    assert relative_error(D(nhwc(arrays["real_nchw"]), label=arrays["c"]), arrays["logits_real"]) < 1e-5


def test_broken_arrays_leave_nothing_behind(golden: Golden, tmp_path: Path) -> None:
    path = pickled(tmp_path, {"G_ema": stored("generator_t32", golden("generator_t32"), channel_max=23)})
    with pytest.raises(ParameterMismatchError, match=rf"(?s){path}: .*unknown"):
        convert_pickle(path, tmp_path / "out")
    with pytest.raises(UnsupportedNetworkError, match=f"{path}: D is not in the file"):
        convert_pickle(path, tmp_path / "out", names=["D"])
    assert [file.name for file in tmp_path.iterdir()] == ["network.pkl"]


COMMAND = [sys.executable, "-m", "sg3tf", "convert", "from-pickle"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow  # starts TensorFlow twice
def test_command(golden: Golden, tmp_path: Path) -> None:
    path = pickled(tmp_path, {"G_ema": stored("generator_r32", golden("generator_r32"))})
    done = run(f"--network={path}", f"--outdir={tmp_path / 'out'}")
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["license"].startswith("unspecified")
    path.write_bytes(path.read_bytes()[:1000])
    failed = run(f"--network={path}", f"--outdir={tmp_path / 'other'}")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"sg3tf convert from-pickle: {path}: the pickle in it is broken")


MEASURE = """
import resource, sys, time
from sg3tf.convert import nvidia_pickle
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
nvidia_pickle.read(sys.argv[1])
print(time.monotonic() - start, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.slow  # writes a file of 350 MB
def test_time_and_memory_of_a_large_file(tmp_path: Path) -> None:
    options = {"img_resolution": 16, "channel_base": 32, "channel_max": 1, "z_dim": 1, "w_dim": 1}
    arrays = {f"synthesis.L{i}.weight": np.full([512, 512, 3, 3], i, np.float32) for i in range(37)}
    arrays["synthesis.input.freqs"] = np.ones([2, 2], np.float32)
    path = pickled(tmp_path, {"G_ema": network("Generator", arrays, options)})
    assert path.stat().st_size > 349e6
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    assert seconds < 10
    assert peak < 1.5 * path.stat().st_size
