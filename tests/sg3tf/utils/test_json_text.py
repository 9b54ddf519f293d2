"""Results that are not finite, as JSON that every reader takes."""

import json
import math

import numpy as np

from sg3tf.utils.files import append_line, read_json_lines
from sg3tf.utils.json_text import to_json


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_numbers_that_are_not_finite_are_strings_and_come_back(tmp_path):
    values = {
        "eqt50k_int": math.inf,
        "nested": [{"a": -math.inf}, (np.float64(np.inf), 1.5)],
        "name": "x",
        "none": None,
        "seed": 3,
    }
    text = to_json(values)
    assert json.loads(text, parse_constant=refuse) == {
        "eqt50k_int": "Infinity",
        "nested": [{"a": "-Infinity"}, ["Infinity", 1.5]],
        "name": "x",
        "none": None,
        "seed": 3,
    }
    file = tmp_path / "metric-eqt50k_int.jsonl"
    append_line(file, text)
    append_line(file, json.dumps({"of": "an older version", "eqt50k_int": math.nan}))
    append_line(file, to_json({"loss": math.nan}))
    first, older, last = read_json_lines(file)
    assert first == {**values, "nested": [{"a": -math.inf}, [math.inf, 1.5]]}
    assert math.isnan(older["eqt50k_int"]) and math.isnan(last["loss"])
