"""Random parameters, and the events that they decide."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.helpers.forced_params import drawn
from trainer.augment.augment_params import AugmentParams
from trainer.augment.random_params import COLUMNS, NORMAL_COLUMNS


def keyed(values, probability):
    return AugmentParams(tf.constant(values), tf.constant(probability, tf.float32), tf.float32)


def happened(numbers, event, method="where_active"):
    one = tf.ones_like(numbers["scale"])
    return np.asarray(getattr(numbers, method)(event, one, 0.0))


def test_shape_type_and_names():
    values = drawn(5)
    assert values.shape == (5, len(COLUMNS)) and values.dtype == np.float32
    assert len(set(COLUMNS)) == len(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_distribution(name):
    expected = "norm" if name in NORMAL_COLUMNS else "uniform"
    column = drawn(4000)[:, COLUMNS.index(name)].astype(np.float64)
    assert stats.kstest(column, expected).pvalue > 1e-4


def test_columns_are_independent():
    correlation = np.corrcoef(drawn(4000).T) - np.eye(len(COLUMNS))
    assert np.abs(correlation).max() < 0.08  # standard deviation 0.016


def test_same_generator_same_numbers():
    assert np.array_equal(drawn(8, seed=3), drawn(8, seed=3))
    assert not np.array_equal(drawn(8, seed=3), drawn(8, seed=4))


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.7, 1.0])
def test_events_happen_as_often_as_asked(probability):
    numbers = keyed(drawn(10000), probability)
    for event in [name[:-1] for name in COLUMNS if name.endswith("?")]:
        share = happened(numbers, event).mean()
        # Five standard deviations; none where p is 0 or 1.
        assert abs(share - probability) <= 5 * np.sqrt(probability * (1 - probability) / 10000), event


@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.2, 0.7, 1.0])
def test_one_of_two_rotations_happens_as_often_as_asked(probability):
    numbers = keyed(drawn(10000), probability)
    either = np.maximum(*(happened(numbers, e, "where_either_active") for e in ("pre_rotate", "post_rotate")))
    assert abs(either.mean() - probability) <= 5 * np.sqrt(probability * (1 - probability) / 10000)


def test_probability_of_every_image_its_own():
    assert happened(keyed(drawn(4), [0.0, 1.0, 0.0, 1.0]), "hue").tolist() == [0, 1, 0, 1]


def test_values_are_handed_out_by_name():
    values = drawn(3)
    got = keyed(values, 1.0)["hue"]
    assert np.array_equal(got, values[:, COLUMNS.index("hue")])


def test_bits_differ_between_images():
    assert len(set(keyed(drawn(500), 1.0).bits("noise_key0").numpy().tolist())) == 500
