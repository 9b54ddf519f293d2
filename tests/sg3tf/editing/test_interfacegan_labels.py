"""Label files of both formats, and invalid ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg3tf.editing.interfacegan import read_labels


def test_csv(tmp_path: Path):
    path = tmp_path / "l.csv"
    path.write_text("\ufeffseed, smile ,hat\n3,1,0\n\n17,0,\n")
    labels = read_labels(path)
    assert labels.kind == "seed"
    assert labels.numbers.tolist() == [3, 17]
    np.testing.assert_array_equal(labels.columns["smile"], [1, 0])
    np.testing.assert_array_equal(labels.columns["hat"], [0, np.nan])


def test_npz(tmp_path: Path):
    np.savez(tmp_path / "l.npz", index=[0, 2], smile=[True, False])
    labels = read_labels(tmp_path / "l.npz")
    assert (labels.kind, labels.numbers.tolist()) == ("index", [0, 2])
    np.testing.assert_array_equal(labels.columns["smile"], [1, 0])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "give seed or index"),
        ("smile\n1\n", "give seed or index"),
        ("seed\n1\n", "give seed or index"),
        ("seed,index,smile\n1,2,0\n", "give seed or index"),
        ("seed,smile\n1,2\n", "smile must be 0 or 1"),
        ("seed,smile\n1,yes\n", "could not convert"),
        ("seed,smile\n-1,1\n", "seed must be whole numbers"),
        ("seed,smile\n1.5,1\n", "seed must be whole numbers"),
        ("seed,smile\n1\n", "every line must have 2 columns"),
    ],
)
def test_texts_that_do_not_fit(tmp_path: Path, text: str, message: str):
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"labels=.*l\.csv: .*{message}"):
        read_labels(path)


def test_arrays_that_do_not_fit(tmp_path: Path):
    np.savez(tmp_path / "l.npz", seed=[0, 1], smile=[1])
    with pytest.raises(ValueError, match="columns differ in length"):
        read_labels(tmp_path / "l.npz")
    (tmp_path / "l.npz").write_text("no")
    with pytest.raises(ValueError, match="labels="):
        read_labels(tmp_path / "l.npz")
