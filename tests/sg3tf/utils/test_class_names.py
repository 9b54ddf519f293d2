"""Texts to labels."""

from __future__ import annotations

import tracemalloc

from sg3tf.utils.class_names import label_of


def test_more_names_than_classes_are_refused_without_reading_them() -> None:
    classes = ["tabby", "manx", "a,b"]
    assert label_of("tabby, manx,manx", classes, 3).tolist() == [1, 1, 0]
    assert label_of("a,b", classes, 3).tolist() == [0, 0, 1]
    text = "manx," * 1_000_000 + "manx"
    tracemalloc.start()
    assert label_of(text, classes, 3) is None
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
