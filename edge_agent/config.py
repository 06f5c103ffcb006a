"""The gateway's one TOML comes in; out goes a checked `Config` with absolute paths and the digest of what it means.

An unknown key, a wrong value or a reference to nothing is refused with the key's name and the cure. Never writes.
"""

import difflib
import hashlib
import tomllib
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_agent.reference import key_names, kinds, meaning
from edge_agent.settings import checks

T = TypeVar("T", bound=msgspec.Struct)

NAMED = ("sources", "triggers", "pipelines", "outputs")
"""The tables of which there are many, each row with a name."""


class Config(settings.Tables, frozen=True, kw_only=True):
    """The effective configuration: every default filled in, every path absolute.

    `digest` is of the same without the folder it lies in: equal files on two machines have equal digests.
    """

    digest: str


def load(path: Path) -> Config:
    """The configuration in the file `path`; relative paths in it are relative to its folder.

    Raises:
        ConfigError: one line with the cause, one with the cure.
    """
    return parse(_read(path), path.absolute().parent)


def parse(raw: Mapping[str, Any], folder: Path) -> Config:
    """The configuration in the parsed TOML `raw`, as if it lay in `folder`.

    Raises:
        ConfigError: as `load`.
    """
    _refuse_unknown(raw)
    try:
        tables = msgspec.convert(raw, settings.Tables, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), raw) from error
    problem = next(_problems(tables), None)
    if problem is not None:
        raise ConfigError(*problem)
    placed = _place(tables, folder)
    identity = _place(tables.identity, placed.data_dir / "identity")
    fields = msgspec.structs.asdict(msgspec.structs.replace(placed, identity=identity))
    return Config(**fields, digest=digest(tables))


def digest(tables: settings.Tables) -> str:
    """SHA-256 of the canonical JSON of the effective configuration, hex. Of secrets it holds only the files' names."""
    builtins = msgspec.to_builtins(tables, enc_hook=str)
    return hashlib.sha256(msgspec.json.encode(builtins, order="deterministic")).hexdigest()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ConfigError(
            message, "give the path of the gateway's TOML; `edge-agent config check` names its keys"
        ) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text"
        raise ConfigError(message, "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not TOML: {error}"
        raise ConfigError(message, "a text value stands in quotes, a table's name in brackets") from error


def _path(kind: type[Any], value: object) -> Any:
    if isinstance(value, str):
        return kind(value)
    message = f"Expected `str`, got `{type(value).__name__}`"
    raise TypeError(message)


def _place(table: T, folder: Path) -> T:
    """`table` with its paths, and those of the tables within, made absolute under `folder`."""
    return msgspec.structs.replace(table, **{n: _placed(v, folder) for n, v in msgspec.structs.asdict(table).items()})


def _placed(value: Any, folder: Path) -> Any:
    if isinstance(value, settings.Identity):
        return value  # Its files lie under data_dir, which is known only when the rest is placed.
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, msgspec.Struct):
        return _place(value, folder)
    if isinstance(value, tuple):
        return tuple(_placed(item, folder) for item in value)
    return value


def _refuse_unknown(raw: Mapping[str, Any]) -> None:
    for where, table, known in _written(raw):
        for key in table:
            if key not in known:
                message = f"{where}: unknown key {key!r}"
                raise ConfigError(message, _nearest(key, known))


def _written(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Sequence[str]]]:
    """Each table of the file as (how to call it, its content, the keys it may have)."""
    yield "the file", raw, key_names("")
    for section, value in raw.items():
        if isinstance(value, dict):
            yield f"[{section}]", value, key_names(section)
        rows = value if isinstance(value, list) else []
        for row in (row for row in rows if isinstance(row, dict)):
            kind = row.get("kind", "")
            where = f"[[{section}]] {row.get('name', '')!r}"
            if kinds(section) and kind not in kinds(section):
                message = f"{where}: kind is {kind!r}" if kind else f"{where}: has no kind"
                raise ConfigError(message, f"kind is one of {', '.join(kinds(section))}")
            yield where, row, key_names(section, kind)
            if isinstance(row.get("guard"), dict):
                yield f"{where}, guard", row["guard"], key_names("pipelines.guard")


def _nearest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known)}"


def _invalid(problem: str, raw: Mapping[str, Any]) -> ConfigError:
    """A wrong kind of value or one beyond its limits: msgspec's words, the place named as the operator wrote it."""
    what, _, where = problem.partition(" - at `$.")
    place, row = where.rstrip("`"), {}
    section, _, key = place.partition(".")
    if "[" in section:
        section, _, index = section.rstrip("]").partition("[")
        row = raw[section][int(index)]
        row = row if isinstance(row, dict) else {}
        place = f"[[{section}]] {row.get('name', '')!r} {key}".rstrip()
    if "missing required field" in what:
        key = what.split("`")[1]
    table, _, last = f"{section}.{key}".rstrip(".").rpartition(".")
    cure = f"{last}: {meaning(table, last, row.get('kind', ''))}"
    return ConfigError(f"{place or 'the file'}: {what[0].lower()}{what[1:]}", cure)


def _problems(tables: settings.Tables) -> Iterator[tuple[str, str]]:
    yield from _zone_problems(tables.gateway.timezone)
    for section in NAMED:
        names = [row.name for row in getattr(tables, section)]
        for name in names:
            if names.count(name) > 1:
                yield f"[[{section}]]: {name!r} is there twice", "give each its own name"
    for section, name, target, wanted in _references(tables):
        names = [row.name for row in getattr(tables, target)]
        if wanted not in names:
            cure = f"add [[{target}]] with that name" + (f", or take one of {', '.join(names)}" if names else "")
            yield f"[[{section}]] {name!r}: there is no {target.removesuffix('s')} {wanted!r}", cure
    yield from checks.door_problems(tables.serving, tables.sources)
    yield from checks.problems(tables.sources, tables.triggers, tables.pipelines, tables.outputs)


def _zone_problems(zone: str) -> Iterator[tuple[str, str]]:
    try:
        if zone != "UTC":
            zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield f"gateway.timezone: {zone!r} is not a time zone known here", "take an IANA name, as Europe/Berlin, or UTC"


def _references(tables: settings.Tables) -> Iterator[tuple[str, str, str, str]]:
    """Each use of a named table by another: (section, name, section of the target, its name)."""
    for trigger in tables.triggers:
        if isinstance(trigger, settings.SourceTrigger):
            yield "triggers", trigger.name, "sources", trigger.source
    for pipeline in tables.pipelines:
        yield "pipelines", pipeline.name, "sources", pipeline.source
        yield "pipelines", pipeline.name, "triggers", pipeline.trigger
        for output in pipeline.outputs:
            yield "pipelines", pipeline.name, "outputs", output
