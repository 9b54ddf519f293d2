"""Evenly spaced images and the others, as arrays of indices give them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.data.selection import AllBut, Balanced, EvenlySpaced


@given(st.data())
def test_selections_are_those_of_arrays(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 300))
    count = data.draw(st.integers(1, total - 1))
    spaced = np.arange(count) * total // count
    for selection, expected in (
        (EvenlySpaced(total, count), spaced),
        (AllBut(total, count), np.delete(np.arange(total), spaced)),
    ):
        assert len(selection) == len(expected)
        assert [selection(i) for i in range(len(selection))] == expected.tolist()
        np.testing.assert_array_equal(selection(np.arange(len(selection))), expected)


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
    assert int(AllBut(total, count)(np.array([2 * 10**9 - 1]))[0]) == total - 1
    assert int(EvenlySpaced(total, count)(np.array([10**9 - 1]))[0]) == total - 3
