"""From the JSON of the native module to frozen dataclasses.

One function for every class: a dataclass says what it holds, and that is all there is to say. Fields that a class does not
know are ignored, as in every file of Drover of the same major format.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")


def renamed(key: str) -> Any:
    """Declare a field whose JSON key is a Python keyword."""
    return dataclasses.field(metadata={"json": key})


def from_json(kind: type[T], text: str) -> T:
    """Read one object."""
    return build(kind, json.loads(text))


def list_from_json(kind: type[T], text: str) -> list[T]:
    """Read a list of objects."""
    return [build(kind, raw) for raw in json.loads(text)]


def build(kind: type[T], raw: dict[str, Any]) -> T:
    """Make a dataclass from its JSON object."""
    same: Any = kind  # mypy 2.4 does not take a class for hashable
    return kind(**{name: decode(hint, raw[key]) for name, key, hint in _layout(same) if key in raw})


def decode(hint: Any, value: Any) -> Any:
    """Make what `hint` asks for from a JSON value."""
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple(decode(arguments[0], item) for item in value)
    if origin in (typing.Union, types.UnionType):
        return decode(arguments[0], value)
    if hint is datetime:
        return timestamp(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    return value


def timestamp(text: str) -> datetime:
    """Read an RFC 3339 time in UTC. Python keeps microseconds; what is finer is cut off."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction[:6]:0<6}+00:00")


@functools.cache
def _layout(kind: type[Any]) -> list[tuple[str, str, Any]]:
    """List a dataclass's fields: name, JSON key, type."""
    hints = typing.get_type_hints(kind)
    return [(f.name, f.metadata.get("json", f.name), hints[f.name]) for f in dataclasses.fields(kind)]
