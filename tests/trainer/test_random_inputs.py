"""Latents and labels: functions of seed, purpose and position alone."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.data.dataset import open_dataset
from tests.helpers.metric_stubs import FiftyLabels, digest
from trainer import random_inputs as module
from trainer.augment.random_params import COLUMNS
from trainer.random_inputs import RandomInputs

PURPOSES = ("G", "D", "PL")


@pytest.fixture(scope="module")
def labeled(faces):
    return open_dataset(faces, use_labels=True)


def same(a, b):
    return np.array_equal(a.z, b.z) and np.array_equal(a.label, b.label)


def present(latents):
    """{name: array} of the fields that are not None."""
    return {name: array for name, array in vars(latents).items() if array is not None}


def test_shapes_and_types(labeled):
    drawn = RandomInputs(labeled, 8, 20, seed=0).latents("G", 0)
    assert {name: (value.shape, value.dtype) for name, value in present(drawn).items()} == {
        "z": ((8, 20), np.float32),
        "label": ((8, 3), np.float32),
    }
    assert RandomInputs(labeled, 8, 20, seed=0).latents("G", 0, 5).z.shape == (5, 20)


def test_grids_of_all_runs_have_the_first_seeds(labeled):
    """And labels of the data, the same ones in every grid of a run."""
    one, other = (RandomInputs(labeled, 8, 20, seed).grid(16) for seed in (0, 1))
    expected = [np.random.RandomState(seed).randn(20) for seed in range(16)]
    np.testing.assert_array_equal(one.z, np.float32(expected))
    np.testing.assert_array_equal(other.z, one.z)
    assert same(one, RandomInputs(labeled, 4, 20, seed=0, style_mixing=0.9, num_ws=8, noise=True).grid(16))
    assert one.label.shape == (16, 3) and set(one.label.argmax(1)) == {0, 1, 2}
    assert set(present(one)) == {"z", "label"}


def test_without_labels_they_have_no_width(unlabeled):
    assert RandomInputs(open_dataset(unlabeled), 8, 20, seed=0).latents("G", 0).label.shape == (8, 0)


def test_a_position_gives_the_same_however_one_came_there(labeled):
    straight = RandomInputs(labeled, 8, 20, seed=7)
    expected = {(p, n): straight.latents(p, n) for n in range(0, 80, 8) for p in PURPOSES}
    for purpose, n in reversed(expected):
        assert same(RandomInputs(labeled, 8, 20, seed=7).latents(purpose, n), expected[purpose, n])


def test_everything_else_changes_them(labeled):
    """No row of z occurs twice either, so streams of neighboring positions do not overlap."""
    rows = [
        row.tobytes()
        for seed in (0, 1, 2**32 - 1)
        for purpose in PURPOSES
        for cur_nimg in (0, 1, 8, 16, 25_000_000)
        for row in RandomInputs(labeled, 8, 20, seed).latents(purpose, cur_nimg).z
    ]
    assert len(set(rows)) == len(rows) == 3 * 3 * 5 * 8


#: Digests recorded before the streams were enumerated in sg3tf.utils.rng: z, label, mix_z, mix_from, noise.
RECORDED_LATENTS = {
    "G": "c76aa9a8dc065c66 d5fe36fba5005758 b44064d474404052 76c0165f06130732 bb13ba1fab43859a",
    "D": "3b6314d473b272fb d32bfd84eb70461d baecd7eb78fc3f67 a1cb9cf8a0c9119b 4108bf02bbb17bf7",
    "PL": "7e8b7017027c40ea 08ef0a693c6746b5 c9f1dee527fb7861 bb9daecf5e68eb70 b223494022c8e008",
}
RECORDED_AUGMENTATION = {
    "G": "94cef90c40fe881a",
    "D real": "58ac5c1c13f7f2f7",
    "D fake": "4881324f4953b62f",
    "R1": "0890c9507ab72b82",
    "validation": "19e593d85ce81b80",
}
RECORDED_DIRECTIONS = "12d3d65f499f722c"


def test_numbers_are_the_recorded_ones():
    """A checkpoint continues with these numbers, and published runs can be repeated with them."""
    inputs = RandomInputs(FiftyLabels(), 4, 5, seed=7, style_mixing=0.5, num_ws=6, noise=True)
    latents = {purpose: present(inputs.latents(purpose, 48)).values() for purpose in RECORDED_LATENTS}
    assert {p: " ".join(map(digest, arrays)) for p, arrays in latents.items()} == RECORDED_LATENTS
    assert {p: digest(inputs.augmentation(p, 48)) for p in RECORDED_AUGMENTATION} == RECORDED_AUGMENTATION
    assert digest(inputs.directions(48, 4)) == RECORDED_DIRECTIONS


def test_z_is_normal(labeled):
    z = RandomInputs(labeled, 64, 512, seed=0).latents("G", 0).z.ravel()
    # 32768 numbers: the mean's standard deviation is 0.0055, that of the variance 0.0078.
    assert abs(z.mean()) < 0.02
    assert z.var() == pytest.approx(1, abs=0.03)
    assert (np.abs(z) < 1).mean() == pytest.approx(0.6827, abs=0.01)


def test_labels_come_from_the_data_as_often_as_there(labeled):
    label = RandomInputs(labeled, 4000, 1, seed=0).latents("D", 0).label
    assert set(np.unique(label)) == {0, 1}
    assert np.all(label.sum(axis=1) == 1)
    np.testing.assert_allclose(label.mean(axis=0), [0.5, 0.25, 0.25], atol=0.03)  # standard deviation 0.008


def test_labels_do_not_follow_z(labeled):
    """The phases of G and D draw different labels at one position."""
    drawn = RandomInputs(labeled, 64, 4, seed=0)
    assert not np.array_equal(drawn.latents("G", 0).label, drawn.latents("D", 0).label)


# --- Style mixing and noise of StyleGAN2 ------------------------------------------------------------------------------


def test_style_mixing_and_noise_change_no_other_draw(labeled):
    plain = RandomInputs(labeled, 8, 20, seed=3)
    more = RandomInputs(labeled, 8, 20, seed=3, style_mixing=0.9, num_ws=8, noise=True)
    for purpose in PURPOSES:
        assert same(plain.latents(purpose, 16), more.latents(purpose, 16))
    drawn = more.latents("G", 16)
    assert {name: (value.shape, value.dtype) for name, value in present(drawn).items()} == {
        "z": ((8, 20), np.float32),
        "label": ((8, 3), np.float32),
        "mix_z": ((8, 20), np.float32),
        "mix_from": ((8,), np.int32),
        "noise": ((8, 2), np.int32),
    }
    assert not np.array_equal(drawn.mix_z, drawn.z)
    assert not np.array_equal(drawn.noise, more.latents("D", 16).noise)


def test_crossovers_are_uniform_in_the_wanted_share(labeled):
    inputs = RandomInputs(labeled, 8000, 1, seed=0, style_mixing=0.75, num_ws=5)
    shares = np.bincount(inputs.latents("G", 0).mix_from, minlength=6) / 8000
    # Standard deviation 0.005: of four crossovers, and of none.
    np.testing.assert_allclose(shares, [0, 0.1875, 0.1875, 0.1875, 0.1875, 0.25], atol=0.02)


def test_augmentation_of_every_purpose_is_its_own(labeled):
    inputs = RandomInputs(labeled, 8, 20, seed=0)
    drawn = {(p, n): inputs.augmentation(p, n) for p in module._AUGMENT for n in (0, 8)}
    assert all(value.shape == (8, len(COLUMNS)) and value.dtype == np.float32 for value in drawn.values())
    assert len({row.tobytes() for value in drawn.values() for row in value}) == len(module._AUGMENT) * 2 * 8
    np.testing.assert_array_equal(RandomInputs(labeled, 8, 20, seed=0).augmentation("R1", 8), drawn["R1", 8])


def test_directions_are_seeds(labeled):
    inputs = RandomInputs(labeled, 8, 20, seed=0)
    seeds = inputs.directions(0, 4)
    assert (seeds.shape, seeds.dtype) == ((4, 2), np.int32)
    assert not np.array_equal(seeds, inputs.directions(8, 4))
    assert len(np.unique(seeds)) == 8
