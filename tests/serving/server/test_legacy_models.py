"""SavedModels exported before the layout of the project changed are served with the same answers."""

import contextlib
import tarfile
from pathlib import Path

import numpy as np
import pytest

from serving.server.batching import BatchingParameters
from sg3tf.remote import Client

LEGACY = Path(__file__).parents[2] / "data" / "legacy" / "saved_model"


@pytest.fixture(scope="module")
def legacy_base(tmp_path_factory):
    base = tmp_path_factory.mktemp("legacy")
    with tarfile.open(LEGACY / "version.tar.xz") as archive:
        archive.extractall(base, filter="data")
    return base


@pytest.mark.parametrize("batching", [None, BatchingParameters()], ids=["plain", "batching"])
def test_answers(legacy_base, serve_here, batching):
    expected = np.load(LEGACY / "expected.npz")
    condition = {"psi": expected["psi"], "label": expected["label"]}
    address = serve_here(legacy_base, batching=batching)
    with contextlib.closing(Client(address, "fake", timeout_s=30)) as client:
        ws = client.map(expected["z"], **condition)
        np.testing.assert_allclose(ws, expected["ws"], atol=1e-5 * np.abs(expected["ws"]).max())
        images = client.generate(seeds=expected["seed"].tolist(), **condition)
        np.testing.assert_allclose(images.astype(int), expected["images"], atol=1)
        moved = client.predict("synthesize_float", {"ws": ws, "transform": expected["transform"]})["images"]
        np.testing.assert_allclose(moved, expected["moved"], atol=1e-4 * np.abs(expected["moved"]).max())
