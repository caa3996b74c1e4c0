"""The protobuf messages of a checked expression, as far as they are read here.

They are ``cel.expr.CheckedExpr`` and what it holds (github.com/google/cel-spec, *checked.proto* and *syntax.proto*);
the numbers are theirs.  What is left out here, protobuf skips.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "stanchion.cel"
_SCALARS = {
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}

# Each field: name, type, number; "*" repeats it, "|" puts it into the message's oneof.
_MESSAGES: dict[str, tuple[tuple[str, str, int], ...]] = {
    "Any": (("value", "bytes", 2),),
    "CheckedExpr": (("expr", "Expr", 4), ("source_info", "SourceInfo", 5)),
    "SourceInfo": (("positions", "*Position", 4),),
    "Position": (("id", "int64", 1), ("offset", "int32", 2)),
    "Expr": (
        ("id", "int64", 2),
        ("const", "|Constant", 3),
        ("ident", "|Ident", 4),
        ("select", "|Select", 5),
        ("call", "|Call", 6),
        ("list", "|List", 7),
        ("struct", "|Struct", 8),
        ("comprehension", "|Comprehension", 9),
    ),
    "Constant": (
        ("null_value", "|int64", 1),
        ("bool_value", "|bool", 2),
        ("int64_value", "|int64", 3),
        ("uint64_value", "|uint64", 4),
        ("double_value", "|double", 5),
        ("string_value", "|string", 6),
        ("bytes_value", "|bytes", 7),
    ),
    "Ident": (("name", "string", 1),),
    "Select": (("operand", "Expr", 1), ("field", "string", 2), ("test_only", "bool", 3)),
    "Call": (("target", "Expr", 1), ("function", "string", 2), ("args", "*Expr", 3)),
    "List": (("elements", "*Expr", 1),),
    "Struct": (("message_name", "string", 1), ("entries", "*Entry", 2)),
    "Entry": (("map_key", "Expr", 3), ("value", "Expr", 4)),
    "Comprehension": (
        ("iter_var", "string", 1),
        ("iter_range", "Expr", 2),
        ("accu_var", "string", 3),
        ("accu_init", "Expr", 4),
        ("loop_step", "Expr", 6),
        ("result", "Expr", 7),
        ("iter_var2", "string", 8),
    ),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="stanchion/cel.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if any(kind.startswith("|") for _, kind, _ in fields):
            message.oneof_decl.add(name="kind")
        for field_name, kind, number in fields:
            _add_field(message, field_name, kind, number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, kind: str, number: int) -> None:
    bare = kind.lstrip("*|")
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    if bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{bare}"
    if kind.startswith("|"):
        field.oneof_index = 0


_CLASSES = _classes()


def decode(serialized: bytes) -> Any:
    """The ``CheckedExpr`` in what the library serialised.  Raises ``google.protobuf.message.DecodeError``."""
    return _CLASSES["CheckedExpr"].FromString(_CLASSES["Any"].FromString(serialized).value)
