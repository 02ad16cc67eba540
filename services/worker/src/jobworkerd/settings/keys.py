"""The names of the settings, derived from the fields of `config.Config`, and their accepted values.

Another program of the project names its settings in the same way, with a struct and a prefix of its choice.

The field `max_cpu` in the field `defaults` is the key `defaults.max_cpu`: `max_cpu` in the table
`[defaults]` of the file, `JOBWORKERD_DEFAULTS_MAX_CPU` in the environment.
"""

import dataclasses
from collections.abc import Iterator

import msgspec
import msgspec.inspect

from jobworkerd.config import Config
from jobworkerd.limit_bounds import MIB

PREFIX = "JOBWORKERD_"

Value = str | int | float | bool | list[str] | dict[str, object]


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting. `path` consists of its table, if any, and its name. `prefix` is that of its variable."""

    path: tuple[str, ...]
    annotation: type
    default: Value
    prefix: str = PREFIX

    @property
    def name(self) -> str:
        """The name in messages, such as `defaults.max_cpu`."""
        return ".".join(self.path)

    @property
    def table(self) -> str:
        """The table of the key in the file; empty for the top level."""
        return ".".join(self.path[:-1])

    @property
    def variable(self) -> str:
        """The environment variable, such as `JOBWORKERD_DEFAULTS_MAX_CPU`."""
        return self.prefix + "_".join(self.path).upper()

    @property
    def flag(self) -> str:
        """The flag, such as `--api-processes`. Only the keys in `options.FLAGS` have one."""
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def is_list(self) -> bool:
        """True if the value is a list, which is comma-separated in the environment."""
        return isinstance(msgspec.inspect.type_info(self.annotation), msgspec.inspect.VarTupleType)

    @property
    def accepted(self) -> str:
        """The accepted values in words."""
        words = _accepted(msgspec.inspect.type_info(self.annotation))
        return f"{words}, or a size such as 1M" if self.unit else words

    @property
    def unit(self) -> int:
        """The bytes per unit of the value; 0 if the value is not a size."""
        if self.name in {"defaults.max_memory", "capacity.memory", "scratch.default", "scratch.max"}:
            return MIB
        return 1 if self.name.endswith("_bytes") or self.name == "defaults.max_io_bps" else 0

    def value(self, config: msgspec.Struct) -> Value:
        """Return the value of the key in a configuration."""
        found: object = config
        for name in self.path:
            found = getattr(found, name)
        return _builtin(found)


def all_keys(settings: type[msgspec.Struct] = Config, prefix: str = PREFIX) -> tuple[Key, ...]:
    """Return all settings in the order of the fields, which is also that of a TOML file."""
    return tuple(_keys(settings, prefix, ()))


def _keys(struct: type[msgspec.Struct], prefix: str, above: tuple[str, ...]) -> Iterator[Key]:
    for field in msgspec.structs.fields(struct):
        path = (*above, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _keys(field.type, prefix, path)
        else:
            yield Key(path, field.type, _default(field), prefix)


def _default(field: msgspec.structs.FieldInfo) -> Value:
    # A default that can be modified, such as an empty table, is a factory in msgspec.
    factory = field.default_factory
    return _builtin(field.default if factory is msgspec.NODEFAULT else factory())


def _builtin(value: object) -> Value:
    builtin = msgspec.to_builtins(value)
    assert isinstance(builtin, str | int | float | list | tuple | dict)
    return list(builtin) if isinstance(builtin, tuple) else builtin


def _accepted(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.Metadata(type=inner, extra_json_schema=schema):
            return (schema or {}).get("description") or _accepted(inner)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return _number(kind)
        case msgspec.inspect.LiteralType() | msgspec.inspect.EnumType():
            return "one of " + ", ".join(_choices(kind))
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"a list, each {_accepted(item)}"
        case _:
            raise TypeError(f"unsupported type of a setting: {kind!r}; add it to _accepted")


def _number(kind: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    noun = "a whole number" if isinstance(kind, msgspec.inspect.IntType) else "a number"
    named = (("from", kind.ge), ("above", kind.gt), ("to", kind.le), ("below", kind.lt))
    return " ".join([noun, *(f"{word} {bound}" for word, bound in named if bound is not None)])


def _choices(kind: msgspec.inspect.LiteralType | msgspec.inspect.EnumType) -> list[str]:
    if isinstance(kind, msgspec.inspect.EnumType):
        return [str(member.value) for member in kind.cls]
    return [str(value) for value in kind.values]
