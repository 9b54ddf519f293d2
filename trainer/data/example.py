"""tf.train.Example without TensorFlow.

The message is declared to protobuf here, in a pool of its own, so that it neither needs nor
disturbs TensorFlow's; importing it takes milliseconds instead of seconds in every worker process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from trainer.data.errors import DataError

_Field = descriptor_pb2.FieldDescriptorProto
_LISTS = {
    "bytes_list": ("BytesList", _Field.TYPE_BYTES),
    "float_list": ("FloatList", _Field.TYPE_FLOAT),
    "int64_list": ("Int64List", _Field.TYPE_INT64),
}


def _declare() -> Any:
    """Returns the class of tensorflow/core/example/example.proto's Example."""
    file = descriptor_pb2.FileDescriptorProto(name="sg3tf/example.proto", package="sg3tf", syntax="proto3")
    for name, kind in _LISTS.values():
        value = file.message_type.add(name=name).field
        value.add(name="value", number=1, label=_Field.LABEL_REPEATED, type=kind)

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (field, (name, _)) in enumerate(_LISTS.items(), start=1):
        _message_field(feature, field, number, name).oneof_index = 0

    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _message_field(entry, "value", 2, "Feature")
    _message_field(features, "feature", 1, "Features.FeatureEntry").label = _Field.LABEL_REPEATED

    _message_field(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sg3tf.Example"))


def _message_field(parent: Any, name: str, number: int, kind: str) -> Any:
    return parent.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_OPTIONAL,
        type=_Field.TYPE_MESSAGE,
        type_name=f".sg3tf.{kind}",
    )


_Example = _declare()


def parse_example(payload: bytes, where: str) -> dict[str, Sequence[Any]]:
    """Returns {feature name: its bytes, floats or ints}; `where` names the record in errors."""
    try:
        features = _Example.FromString(payload).features.feature
    except message.DecodeError as error:
        raise DataError(f"{where} is not a tf.train.Example: {error}") from error
    parsed: dict[str, Sequence[Any]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        parsed[name] = getattr(feature, kind).value if kind else ()
    return parsed


def serialize_example(features: Mapping[str, bytes | Sequence[int] | Sequence[float]]) -> bytes:
    """Serialises {feature name: bytes, or a list of int or of float}; equal input, equal bytes."""
    example = _Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif all(isinstance(number, int) for number in value):
            feature.int64_list.value.extend(value)
        else:
            feature.float_list.value.extend(value)
    return bytes(example.SerializeToString(deterministic=True))
