"""TOML files whose keys document themselves: a dataclass for each table, a `key` for each key of it.

The reader of a file, the error messages and the documentation then say the same. Every problem is raised as an error
of the caller's kind, naming the file, the key, and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import CCMError

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def key(doc: str, default: Any = MISSING, low: float = -math.inf, high: float = math.inf) -> Any:
    """A documented key; numbers, and those of a list, lie in low..high, both included."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


def load_toml(text: str) -> dict[str, Any]:
    """Parse TOML; `tomli` stands in for the standard library's parser below Python 3.11."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def dump_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Write tables of texts, numbers, truth values and lists as TOML."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in table.items()), ""]
    return "\n".join(lines)


def read_tables(path: Path, settings: tuple[str, ...], error: type[CCMError], example: str) -> dict[str, Any]:
    """Return the tables of a TOML file; each setting "table.key=value" replaces a key. `example` is the advice.

    Raises `error` for a file that cannot be read, that is not TOML, and for a setting that does not fit.
    """
    try:
        tables = load_toml(path.read_bytes().decode("utf-8"))
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror})", fix=example) from problem
    except ValueError as problem:
        raise error(f"{path} is not TOML: {problem}", fix="correct that line") from problem
    for setting in settings:
        _override(tables, setting, error)
    return tables


@dataclass(frozen=True)
class Reader:
    """Turns the tables of one file into dataclasses; `source` and `error` are what a problem is raised with."""

    source: str
    error: type[CCMError]

    def section(self, kind: type, table: Any, name: str) -> Any:
        """Return the dataclass `kind` of a table, every value checked against its type and range.

        Raises `error` for a key that is unknown, missing, of the wrong type or out of range.
        """
        if not isinstance(table, Mapping):
            raise self.error(
                f"{self.source}: {name} is {table!r}, not a table", fix=f"write [{name}] above its keys"
            )
        known = {f.name: (f, hint) for f, hint in typed(kind)}
        self.known_only(table, known, f"{self.source} [{name}]", "key")
        values = {}
        for child, (f, hint) in known.items():
            if child in table:
                values[child] = self._value(hint, table[child], f"{name}.{child}", f.metadata)
            elif f.default is MISSING:
                raise self.error(
                    f"{self.source} lacks {name}.{child}, {f.metadata['doc']}", fix="add that key"
                )
        return kind(**values)

    def known_only(self, names: Mapping[str, Any], known: Mapping[str, Any], where: str, what: str) -> None:
        """Raise for the first name that is not known, with the nearest one that is."""
        for name in names:
            if name not in known:
                raise self.error(
                    f"{where} has an unknown {what} {name!r}{nearest(name, list(known))}",
                    fix=f"correct or remove it; there are {', '.join(known)}",
                )

    def _value(self, hint: Any, value: Any, name: str, metadata: Mapping[str, Any]) -> Any:
        """Return the value as the type that the dataclass declares; the doc of the key is the advice."""

        def wrong(expected: str) -> CCMError:
            return self.error(
                f"{self.source}: {name} is {value!r}, expected {expected}",
                fix=f"correct it: {metadata['doc']}",
            )

        origin, choices = get_origin(hint), get_args(hint)
        if origin is Literal:
            if value not in choices:
                raise wrong("one of " + ", ".join(map(str, choices)) + nearest(value, choices))
            return value
        if origin in (Union, types.UnionType):
            return self._value(next(c for c in choices if c is not type(None)), value, name, metadata)
        if origin is tuple:
            entries = [value] if isinstance(value, str) else value
            if not isinstance(entries, list | tuple):
                raise wrong("a list")
            return tuple(self._value(choices[0], entry, name, metadata) for entry in entries)
        if hint is float and type(value) is int:
            value = float(value)
        if type(value) is not hint:
            raise wrong(_NAMES[hint])
        if hint in (int, float) and not (
            math.isfinite(value) and metadata["low"] <= value <= metadata["high"]
        ):
            raise wrong(f"a number in {_range(metadata)}")
        return value


def nearest(value: Any, choices: Any) -> str:
    """Return " (did you mean ...?)" with the choice that resembles the value most, or nothing."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def typed(kind: type) -> list[tuple[Any, Any]]:
    """Return the fields of a dataclass with their types."""
    hints = get_type_hints(kind)
    assert is_dataclass(kind)
    return [(f, hints[f.name]) for f in fields(kind)]


def _range(metadata: Mapping[str, Any]) -> str:
    low, high = metadata["low"], metadata["high"]
    return f"{low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else f"{low:g} or more"


def _override(tables: dict[str, Any], setting: str, error: type[CCMError]) -> None:
    name, equals, text = setting.partition("=")
    *parents, child = name.strip().split(".")
    if not (equals and parents):
        raise error(f"--set {setting} says nothing", fix="write --set table.key=value")
    try:
        value = load_toml(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()  # a text without quotes, which shells take away
    for parent in parents:
        tables = tables.setdefault(parent, {})
    tables[child] = value
