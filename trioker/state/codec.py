"""Frozen attrs values as JSON text and back, led by the classes' own type hints.

Reading is strict about types and forgiving about fields: a key that is missing takes the field's default, a key that is unknown is
left alone (a later trioker of the same format may have written it). The text is pure ASCII: Python strings that carry undecodable
bytes as surrogates (``os.fsdecode``) come back as they were, where UTF-8 could not hold them.
"""

import enum
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

T = TypeVar("T")
Decoder = Callable[[Any], Any]


class Unreadable(ValueError):
    """The text is no value of the wanted class; the message leads to the place ("state.phase: ...")."""

    def __init__(self, reason: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(path)}: {reason}" if path else reason)
        self.reason = reason
        self.path = path

    def inside(self, name: str) -> "Unreadable":
        """The same failure, told from one level further out."""
        return Unreadable(self.reason, (name, *self.path))


def encode(value: attrs.AttrsInstance) -> str:
    """The value as one line of JSON. Enums become their values, tuples arrays."""
    return _encode(value)


def decode(kind: type[T], text: str) -> T:
    """The value of class ``kind`` that ``text`` holds. Raises Unreadable."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None
    wanted: Any = kind  # mypy takes type[T] for unhashable
    return typing.cast("T", _decoder(wanted)(raw))


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    kind: Any = type(value)
    return {name: getattr(value, name) for name in _names(kind)}


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode


@functools.cache
def _names(kind: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


@functools.cache
def _decoder(kind: Any) -> Decoder:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple(_decoder(arguments[0]))
    if origin in {types.UnionType, typing.Union} and len(arguments) == 2 and arguments[1] is types.NoneType:
        return _optional(_decoder(arguments[0]))
    if kind in {str, int, bool}:
        return _scalar(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum(kind)
    if attrs.has(kind):
        return _value(kind)
    raise TypeError(f"the codec knows no {kind}")


def _scalar(kind: type) -> Decoder:
    def decode_scalar(raw: Any) -> Any:
        if type(raw) is not kind:  # isinstance would take True for an int
            raise Unreadable(f"expected {kind.__name__}, found {raw!r:.60}")
        return raw

    return decode_scalar


def _enum(kind: type[enum.Enum]) -> Decoder:
    def decode_enum(raw: Any) -> Any:
        try:
            return kind(raw)
        except ValueError as error:
            raise Unreadable(str(error)) from None

    return decode_enum


def _optional(inner: Decoder) -> Decoder:
    return lambda raw: None if raw is None else inner(raw)


def _tuple(inner: Decoder) -> Decoder:
    def decode_tuple(raw: Any) -> Any:
        if type(raw) is not list:
            raise Unreadable(f"expected a list, found {raw!r:.60}")
        return tuple(map(inner, raw))

    return decode_tuple


def _value(kind: type[attrs.AttrsInstance]) -> Decoder:
    hints = typing.get_type_hints(kind)
    decoders = {name: _decoder(hints[name]) for name in _names(kind)}
    required = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}

    def decode_value(raw: Any) -> Any:
        if type(raw) is not dict:
            raise Unreadable(f"expected a {kind.__name__}, found {raw!r:.60}")
        if missing := required - raw.keys():
            raise Unreadable("missing", (min(missing),))
        return kind(**_fields(decoders, raw))

    return decode_value


def _fields(decoders: Mapping[str, Decoder], raw: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for name, decoder in decoders.items():
        if name in raw:
            try:
                values[name] = decoder(raw[name])
            except Unreadable as error:
                raise error.inside(name) from None
    return values
