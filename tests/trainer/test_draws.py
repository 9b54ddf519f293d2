"""Latents and labels: functions of seed, purpose and position alone."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import draws as module
from trainer.data import open_dataset, sampler
from trainer.draws import Draws

PURPOSES = ("G", "D", "show")


@pytest.fixture(scope="module")
def labelled(faces):
    return open_dataset(faces, use_labels=True)


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in ("z", "label"))


def test_shapes_and_types(labelled):
    drawn = Draws(labelled, 8, 20, seed=0).latents("G", 0)
    assert {name: (value.shape, value.dtype) for name, value in drawn.items()} == {
        "z": ((8, 20), np.float32),
        "label": ((8, 3), np.float32),
    }
    assert Draws(labelled, 8, 20, seed=0).latents("show", 0, 5)["z"].shape == (5, 20)


def test_without_labels_they_have_no_width(unlabelled):
    assert Draws(open_dataset(unlabelled), 8, 20, seed=0).latents("G", 0)["label"].shape == (8, 0)


def test_a_position_gives_the_same_however_one_came_there(labelled):
    straight = Draws(labelled, 8, 20, seed=7)
    expected = {(p, n): straight.latents(p, n) for n in range(0, 80, 8) for p in PURPOSES}
    for purpose, n in reversed(expected):
        assert same(Draws(labelled, 8, 20, seed=7).latents(purpose, n), expected[purpose, n])


def test_everything_else_changes_them(labelled):
    """Also: no row of z occurs twice, so streams of neighbouring positions do not overlap."""
    rows = [
        row.tobytes()
        for seed in (0, 1, 2**32 - 1)
        for purpose in PURPOSES
        for cur_nimg in (0, 1, 8, 16, 25_000_000)
        for row in Draws(labelled, 8, 20, seed).latents(purpose, cur_nimg)["z"]
    ]
    assert len(set(rows)) == len(rows) == 3 * 3 * 5 * 8


def test_streams_differ_from_those_of_the_data(labelled):
    assert not {sampler._SHUFFLE, sampler._MIRROR} & set(module._PURPOSES.values())
    assert len(set(module._PURPOSES.values())) == len(PURPOSES)


def test_z_is_normal(labelled):
    z = Draws(labelled, 64, 512, seed=0).latents("G", 0)["z"].ravel()
    # 32768 numbers: the mean's standard deviation is 0.0055, that of the variance 0.0078.
    assert abs(z.mean()) < 0.02
    assert z.var() == pytest.approx(1, abs=0.03)
    assert (np.abs(z) < 1).mean() == pytest.approx(0.6827, abs=0.01)


def test_labels_come_from_the_data_as_often_as_there(labelled):
    label = Draws(labelled, 4000, 1, seed=0).latents("D", 0)["label"]
    assert set(np.unique(label)) == {0, 1}
    assert np.all(label.sum(axis=1) == 1)
    np.testing.assert_allclose(label.mean(axis=0), [0.5, 0.25, 0.25], atol=0.03)  # standard deviation 0.008


def test_labels_do_not_follow_z(labelled):
    """G's phase and D's phase at one position draw them anew."""
    drawn = Draws(labelled, 64, 4, seed=0)
    assert not np.array_equal(drawn.latents("G", 0)["label"], drawn.latents("D", 0)["label"])
