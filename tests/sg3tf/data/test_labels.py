"""Labels: one kind for all images; an image with none or another kind is named."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sg3tf.data.errors import DataError
from sg3tf.data.labels import Label, LabelSpec, infer_label_spec, number_labels


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], LabelSpec("none", 0)),
        ([None, None], LabelSpec("none", 0)),
        ([2, 0], LabelSpec("class", 3)),
        ([(1.0, 2.0), (0.0, 1.0)], LabelSpec("vector", 2)),
    ],
)
def test_kind_and_width(labels: list[Label], expected: LabelSpec) -> None:
    assert infer_label_spec([(f"{i}.png", label) for i, label in enumerate(labels)], "here") == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, None, 0], r"here: 1\.png has no label, 0\.png has 1"),
        ([None, (1.0,)], r"here: 0\.png has no label, 1\.png has \(1\.0,\)"),
        ([1, 2, (1.0,)], r"2\.png has the label \(1\.0,\), 0\.png has 1; .*all class indices or all vectors"),
        ([(1.0,), (1.0, 2.0)], r"1\.png has the label \(1\.0, 2\.0\), 0\.png has \(1\.0,\)"),
        ([0, -1], r"1\.png has the class label -1"),
        ([(1.0,), (math.nan,)], r"here: 1\.png has the label \(nan,\); labels must be finite numbers"),
    ],
)
def test_the_odd_one_is_named(labels: list[Label], message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_label_spec([(f"{i}.png", label) for i, label in enumerate(labels)], "here")


def test_a_single_class_has_a_name() -> None:
    """Of one number, --class=0 would be the number 0."""
    entries, names, remarks = number_labels([("0.png", 0), ("1.png", 0)], "here")
    assert (entries, names, remarks) == ((("0.png", 0), ("1.png", 0)), ("0",), ())
    assert number_labels([("0.png", 0), ("1.png", 1)], "here")[1] == ()


def test_rows() -> None:
    np.testing.assert_array_equal(LabelSpec("class", 3).row(1, ""), [0, 1, 0])
    np.testing.assert_array_equal(LabelSpec("vector", 2).row((0.5, 2.0), ""), [0.5, 2])
    assert LabelSpec("none", 0).row(None, "").shape == (0,)


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        (LabelSpec("class", 3), 3),
        (LabelSpec("class", 3), (1.0,)),
        (LabelSpec("class", 3), None),
        (LabelSpec("vector", 2), None),
        (LabelSpec("vector", 2), 1),
        (LabelSpec("vector", 2), (1.0,)),
        (LabelSpec("vector", 2), (1.0, math.nan)),
        (LabelSpec("vector", 2), (1.0, math.inf)),
    ],
)
def test_a_label_that_does_not_fit_names_the_record(spec: LabelSpec, label: Label) -> None:
    with pytest.raises(DataError, match=r"^x\.tfrecords: record 5: .*label"):
        spec.row(label, "x.tfrecords: record 5")
