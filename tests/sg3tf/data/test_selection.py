"""Spread images and the others, as arrays of indices give them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.data.selection import AllBut, Balanced, Spread


@given(st.data(), st.booleans())
def test_selections_are_those_of_arrays(data: st.DataObject, random: bool) -> None:
    total = data.draw(st.integers(2, 300))
    count = data.draw(st.integers(1, total - 1))
    spread = Spread(total, count, random)
    chosen = np.array([spread(i) for i in range(count)])
    bounds = np.arange(count + 1) * total // count
    assert np.all((bounds[:-1] <= chosen) & (chosen < (bounds[1:] if random else bounds[:-1] + 1)))
    for selection, expected in ((spread, chosen), (AllBut(spread), np.delete(np.arange(total), chosen))):
        assert len(selection) == len(expected)
        assert [selection(i) for i in range(len(selection))] == expected.tolist()
        np.testing.assert_array_equal(selection(np.arange(len(selection))), expected)


def test_all_of_the_images_are_chosen_in_order() -> None:
    np.testing.assert_array_equal(Spread(60, 60)(np.arange(60)), np.arange(60))


@pytest.mark.parametrize("period", [7, 12, 51])
def test_classes_in_turn_are_chosen_as_often(period: int) -> None:
    """Indices at equal distances, 40.8 here, were of 5 of 12 classes."""
    stats = pytest.importorskip("scipy.stats", reason="the environment of Apache Beam has no SciPy")
    chosen = Spread(20_400, 500)(np.arange(500)) % period
    expected = 500 / period  # and the counts are about Poisson: chi-square of period - 1 degrees of freedom
    chi_square = np.sum((np.bincount(chosen, minlength=period) - expected) ** 2) / expected
    assert stats.chi2.sf(chi_square, period - 1) > 1e-3


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=60))
def test_balanced_shows_every_class_as_often_and_every_image(classes: list[int]) -> None:
    balanced = Balanced(np.array(classes))
    images = [balanced(i) for i in range(len(balanced))]
    counts, largest = Counter(classes), max(Counter(classes).values())
    assert Counter(classes[i] for i in images) == dict.fromkeys(counts, largest)
    shown = Counter(images)
    for image, number in enumerate(classes):
        assert shown[image] in (largest // counts[number], -(-largest // counts[number]))
    np.testing.assert_array_equal(balanced(np.arange(len(balanced))), images)


def test_billions_of_images_do_not_overflow() -> None:
    total, count = 3 * 10**9, 10**9
    last = Spread(total, count)(np.array([count - 1]))
    others = AllBut(Spread(total, count))(np.array([total - count - 2, total - count - 1]))
    assert sorted([*last, *others]) == [total - 3, total - 2, total - 1]
