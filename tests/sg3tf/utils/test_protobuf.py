"""Messages declared at run time."""

from __future__ import annotations

import pytest

from sg3tf.utils.protobuf import message_classes

DEFINITIONS = """
message Item {
  // a comment
  oneof kind {
    string name = 1;
    int64 number = 2;
  }
  repeated float value = 3;
}
message Items {
  map<string, Item> by_key = 1;
  Item first = 2;
}
"""


def test_messages() -> None:
    classes = message_classes("test.items", DEFINITIONS)
    items = classes["Items"](first=classes["Item"](name="a", value=[1, 2]))
    items.by_key["x"].number = 3
    again = classes["Items"].FromString(items.SerializeToString())
    assert again.first.WhichOneof("kind") == "name" and list(again.first.value) == [1, 2]
    assert again.by_key["x"].number == 3 and again.by_key["x"].WhichOneof("kind") == "number"
    # Field 2, length 3 + 10, with field 1 "a" and field 3, packed floats 1 and 2, as protobuf's encoding has them.
    del items.by_key["x"]
    assert items.SerializeToString() == bytes.fromhex("120d0a01611a080000803f00000040")
    message_classes("test.items", DEFINITIONS)  # a second time: pools of their own


def test_lines_of_another_form() -> None:
    with pytest.raises(ValueError, match=r"definitions of test: cannot parse 'enum Kind \{'"):
        message_classes("test", "enum Kind {\n}")
