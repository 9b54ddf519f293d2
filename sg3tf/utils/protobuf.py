"""Protocol buffer messages declared at run time, for formats whose generated classes would import TensorFlow."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
_BLOCK = re.compile(r"(message|oneof) (\w+) \{")
_MAP_FIELD = re.compile(r"map<string, (\w+)> (\w+) = (\d+);")
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")


def message_classes(package: str, definitions: str) -> dict[str, Any]:
    """Return message classes in their own descriptor pool, which cannot conflict with generated classes.

    Args:
        package: protobuf package of the messages.
        definitions: proto3 messages, one field, brace or comment per line: scalars, messages defined here, `repeated`,
            `map<string, X>` and `oneof`. Declare an enum as int32, and a message that is only passed through as bytes:
            both are identical on the wire.

    Returns:
        {message name: class}.

    Raises:
        ValueError: a line cannot be parsed.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    message: Any = None
    oneof: int | None = None
    for line in map(str.strip, definitions.splitlines()):
        if block := _BLOCK.fullmatch(line):
            if block[1] == "message":
                message = file.message_type.add(name=block[2])
            else:
                oneof = len(message.oneof_decl)
                message.oneof_decl.add(name=block[2])
        elif line == "}":
            oneof = None
        elif field := _MAP_FIELD.fullmatch(line):
            entry = message.nested_type.add(name=f"{field[2].title().replace('_', '')}Entry")
            entry.options.map_entry = True
            _add_field(entry, package, "string", "key", 1)
            _add_field(entry, package, field[1], "value", 2)
            _add_field(message, package, f"{message.name}.{entry.name}", field[2], int(field[3]), repeated=True)
        elif field := _FIELD.fullmatch(line):
            added = _add_field(message, package, field[2], field[3], int(field[4]), repeated=bool(field[1]))
            if oneof is not None:
                added.oneof_index = oneof
        elif line and not line.startswith("//"):
            raise ValueError(f"definitions of {package}: cannot parse {line!r}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message.name}"))
        for message in file.message_type
    }


def _add_field(message: Any, package: str, kind: str, name: str, number: int, repeated: bool = False) -> Any:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if kind in _SCALARS:
        return message.field.add(name=name, number=number, label=label, type=_SCALARS[kind])
    type_name = f".{package}.{kind}"
    return message.field.add(name=name, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=type_name)
