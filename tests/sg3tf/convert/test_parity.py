"""The comparison with the official code, replaced here by a generator of the library."""

from __future__ import annotations

import contextlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg3tf import Generator
from sg3tf.convert import from_pickle
from sg3tf.latents import z_from_seeds
from tests.helpers.numerics import Array, nchw


class Tensor:
    def __init__(self, array: Array) -> None:
        self.array = array

    def numpy(self) -> Array:
        return self.array


class Official:
    """Stand-in for the official generator: images that are 0.25 brighter in one pixel."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def eval(self) -> Official:
        return self

    def float(self) -> Official:
        return self

    def __call__(self, z: Tensor, label: Tensor, noise_mode: str, force_fp32: bool) -> Tensor:
        assert noise_mode == "const" and force_fp32
        images = nchw(self.generator({"z": z.array, "label": label.array})).copy()
        images[0, 1, 2, 3] += 0.25
        return Tensor(images)


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    G = Generator.from_preset("stylegan3-t", 16, channel_base=32, channel_max=4, z_dim=6, w_dim=5, label_dim=3)
    (tmp_path / "network.pkl").write_bytes(b"pickle")
    torch: Any = types.ModuleType("torch")
    torch.from_numpy, torch.no_grad, torch.__version__ = Tensor, contextlib.nullcontext, "0.0"
    legacy: Any = types.ModuleType("legacy")
    legacy.load_network_pkl = lambda file: {"G_ema": Official(G)} if file.read() == b"pickle" else None
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "legacy", legacy)

    report = from_pickle.compare_images(tmp_path / "network.pkl", G)

    assert report["seeds"] == (0, 1, 2, 3)
    assert len(z_from_seeds((0, 1, 2, 3), 6)) == 4
    np.testing.assert_allclose(report["largest_difference"], 0.25, rtol=1e-5)
    np.testing.assert_allclose(report["root_mean_square"], 0.25 / (4 * 3 * 16 * 16) ** 0.5, rtol=1e-5)


def test_without_the_official_code(tmp_path: Path) -> None:
    G = Generator.from_preset("stylegan3-t", 16, channel_base=32, channel_max=4, z_dim=6, w_dim=5)
    with pytest.raises(from_pickle.ParityError, match="no parity report: No module named 'torch'; put PyTorch"):
        from_pickle.compare_images(tmp_path / "network.pkl", G)
