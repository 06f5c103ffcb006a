"""What the configuration can say, read from the types of `settings`: every key with its default and its meaning.

Out go rows for `edge-agent config check`, the table of edge_agent/README.md, and the words of error messages.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from edge_agent.settings import Tables


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the table it stands in, the kind of row it belongs to, its default as TOML or `required`."""

    section: str
    kind: str
    name: str
    default: str
    meaning: str


@functools.cache
def all_keys() -> tuple[Key, ...]:
    """Every key of the file, in the order of the tables."""
    return tuple(_keys(inspect.type_info(Tables), ""))


def key_names(section: str, kind: str = "") -> tuple[str, ...]:
    """The keys of a table: of the file itself for "", else of `section` and, where its rows have kinds, of `kind`."""
    return tuple(key.name for key in all_keys() if (key.section, key.kind) == (section, kind))


def kinds(section: str) -> tuple[str, ...]:
    """The kinds of rows `section` may hold; empty where it has no kinds."""
    return tuple(dict.fromkeys(key.kind for key in all_keys() if key.section == section and key.kind))


def meaning(section: str, name: str, kind: str = "") -> str:
    """What a key means; "" for one that is not known."""
    return next((k.meaning for k in all_keys() if (k.section, k.name, k.kind) == (section, name, kind)), "")


def markdown() -> str:
    """All keys as one table."""
    rows = ["| table | key | default | meaning |", "|---|---|---|---|"]
    for key in all_keys():
        table = f"{key.section} ({key.kind})" if key.kind else key.section
        rows.append(f"| {table} | `{key.name}` | {key.default} | {key.meaning} |")
    return "\n".join(rows) + "\n"


def _keys(table: Any, section: str) -> Iterator[Key]:
    kind = table.tag or ""
    if kind:
        yield Key(section, kind, "kind", f'`"{kind}"`', table.cls.__doc__.strip())
    for field in table.fields:
        yield Key(section, kind, field.name, _default(field), _description(field.type))
    for field in table.fields:
        for inner in _tables(field.type):
            yield from _keys(inner, f"{section}.{field.name}".lstrip("."))


def _tables(kind: Any) -> Iterator[inspect.StructType]:
    """The tables a field may hold."""
    match kind:
        case inspect.Metadata():
            yield from _tables(kind.type)
        case inspect.StructType():
            yield kind
        case inspect.VarTupleType():
            yield from _tables(kind.item_type)
        case inspect.UnionType():
            for member in kind.types:
                yield from _tables(member)


def _description(kind: Any) -> str:
    return str((kind.extra_json_schema or {}).get("description", "")) if isinstance(kind, inspect.Metadata) else ""


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if value is None or value == ():
        return "none"
    return f"`{msgspec.json.encode(value, enc_hook=str).decode()}`"
