"""Files of NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg3tf.utils import arrays


def test_a_small_file_of_large_arrays_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", z=np.zeros([1, 4]), other=np.zeros(100_000))
    assert arrays.read_npz(tmp_path / "bomb.npz", ["z"])["z"].shape == (1, 4)
    monkeypatch.setattr(arrays, "_LARGE", 2**16)
    for names in (None, ["z"]):
        with pytest.raises(ValueError, match="its arrays have 800,.* bytes, too many for a file of this size"):
            arrays.read_npz(tmp_path / "bomb.npz", names)
    np.savez(tmp_path / "stored.npz", z=np.zeros(100_000))
    assert arrays.read_npz(tmp_path / "stored.npz")["z"].shape == (100_000,)
