"""Strategies: mutated bytes, any JSON, any value of a msgspec type, and any protobuf message."""

import math
from typing import Any

import msgspec.inspect as inspected
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

_TEXTS = st.sampled_from(["", "\0", "a" * 5_000, "../..", "%s%n{0}", "é☃𝄞", "-1", "/", "\n"]) | st.text(
    max_size=50
)
_EDGES = (0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    """Return integers of a range, and often its edges."""
    return st.sampled_from([each for each in _EDGES if low <= each <= high]) | st.integers(low, high)


INT64 = integers(-(2**63), 2**63 - 1)
FLOATS = st.floats() | st.sampled_from((math.inf, -math.inf, math.nan, 1e308, -0.0))

JSON = st.recursive(
    st.none() | st.booleans() | integers(-(2**70), 2**70) | FLOATS | _TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=10,
)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, insert, remove and repeat bytes."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 16))
        new = draw(st.binary(max_size=16) | st.just(bytes(found[at : at + length]) * 2))
        found[at : at + length] = new
    return bytes(found)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type that msgspec decodes, whatever its bounds."""
    return _values(inspected.type_info(kind))


def _values(kind: inspected.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911, PLR0912 - one case per kind
    match kind:
        case inspected.Metadata(type=inner):
            return _values(inner)
        case inspected.NoneType():
            return st.none()
        case inspected.BoolType():
            return st.booleans()
        case inspected.IntType():
            return integers(-(2**63), 2**64 - 1)
        case inspected.FloatType():
            return FLOATS
        case inspected.StrType():
            return _TEXTS
        case inspected.BytesType():
            return st.binary(max_size=50)
        case inspected.LiteralType(values=values):
            return st.sampled_from(values)
        case inspected.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case inspected.VarTupleType(item_type=item):
            return st.lists(_values(item), max_size=4).map(tuple)
        case inspected.TupleType(item_types=items):
            return st.tuples(*map(_values, items))
        case inspected.FrozenSetType(item_type=item):
            return st.frozensets(_values(item), max_size=4)
        case inspected.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=4)
        case inspected.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case inspected.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{each.name: _values(each.type) for each in fields})
        case _:
            raise TypeError(f"no strategy for {kind!r}; add it to _values")


def messages_of(described: Descriptor, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    """Return messages with any fields. `known` has strategies for fields by name."""
    fields = {
        field.name: known.get(field.name, _field(field)) for field in described.fields if _can_be_set(field)
    }
    make = message_factory.GetMessageClass(described)
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: make(**chosen))


def _can_be_set(field: FieldDescriptor) -> bool:
    return field.containing_oneof is None or len(field.containing_oneof.fields) == 1


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: integers(-(2**31), 2**31 - 1) | st.integers(0, 8),
    FieldDescriptor.CPPTYPE_UINT32: integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: INT64,
    FieldDescriptor.CPPTYPE_UINT64: integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: FLOATS,
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
}


def _field(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        return st.dictionaries(_one(entry["key"]), _one(entry["value"]), max_size=4)
    return st.lists(_one(field), max_size=4) if field.is_repeated else _one(field)


def _one(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type:
        return messages_of(field.message_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=100)
    return _TEXTS if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else _SCALARS[field.cpp_type]
