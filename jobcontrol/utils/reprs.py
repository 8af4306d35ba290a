"""Representations of values that nobody vouches for: bounded, and never raising.

Containers and texts of Python's own are written piece by piece, and only as far as they will be
shown: a list of ten million items costs no more than one of a thousand. Other objects are asked
for their `repr`, which costs what it costs.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import types
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple, cast

from jobcontrol.utils.text import MAX_INTEGER_BITS, plain, trim_string

MAX_DEPTH = 20
"""Levels of containers within containers that are written."""


class BoundedRepr(NamedTuple):
    """A representation, and whether something was cut from its end."""

    text: str
    cut: bool


def bounded_repr(value: object, limit: int) -> BoundedRepr:
    """Return the first `limit` characters of the representation of `value`.

    Never raises: of an object whose own `__repr__` raises, type and error are given.
    """
    writer = _Writer(limit)
    try:
        writer.write(value)
    except _FullError:
        return BoundedRepr(writer.text(), cut=True)
    return BoundedRepr(writer.text(), cut=False)


def short_repr(obj: object, maxlen: int = 50) -> str:
    """Return `repr(obj)` cut to `maxlen` characters, with '...' at the end if it was longer.

    Never raises, whatever the object's own `__repr__` does.
    """
    text, cut = bounded_repr(obj, max(maxlen, 0) + 1)
    return trim_string(text + "..." if cut else text, maxlen)


# The class's own metaclass is not asked: it may override any name.
_qualname_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__


def class_attribute(kind: type, name: str) -> object:
    """Return what instances of a class have under `name`, as the interpreter finds it."""
    return type.__getattribute__(kind, name)


def class_name(kind: type) -> str:
    """Return the qualified name of a class, without that of its module."""
    return plain(_qualname_of(kind))


def class_module(kind: type) -> str:
    """Return the name of the module of a class, empty if the class hides it."""
    try:
        module = _module_of(kind)
    except AttributeError:
        return ""
    return plain(module) if issubclass(type(module), str) else ""


def type_name(kind: type) -> str:
    """Return `Class` for Python's own and those of `__main__`, else `module.Class`."""
    module = class_module(kind)
    name = class_name(kind)
    return name if module in ("", "builtins", "__main__") else f"{module}.{name}"


@dataclasses.dataclass
class _SampleDataclass:
    """Shares the code of its `__repr__` with every other dataclass."""


class _SampleNamedtuple(NamedTuple):
    """Shares the code of its `__repr__` with every other named tuple."""


_DATACLASS_CODE = _SampleDataclass.__repr__.__code__
_NAMEDTUPLE_CODE = _SampleNamedtuple.__repr__.__code__


class _FullError(Exception):
    """The limit is reached: what was written is all that will be shown."""


class _Writer:
    """Collects pieces of text up to a limit."""

    def __init__(self, limit: int) -> None:
        self.pieces: list[str] = []
        self.room = limit
        self.open: set[int] = set()

    def text(self) -> str:
        return "".join(self.pieces)

    def put(self, text: str) -> None:
        text = plain(text)
        if len(text) > self.room:
            self.pieces.append(text[: self.room])
            self.room = 0
            raise _FullError
        self.pieces.append(text)
        self.room -= len(text)

    def write(self, value: object) -> None:
        """Write one value, with all that it holds."""
        if value is None or value is True or value is False:
            self.put(repr(value))
            return
        if id(value) in self.open or len(self.open) >= MAX_DEPTH:
            self.put("...")
            return
        self.open.add(id(value))
        try:
            _writer_for(value)(self, value)
        except _FullError:
            raise
        except BaseException as error:  # noqa: BLE001 - values raise what they like
            self.put(f"<{type_name(type(value))}: its repr raised {type_name(type(error))}>")
        self.open.discard(id(value))

    def items(self, opening: str, values: Iterable[Any], closing: str) -> None:
        self.put(opening)
        for position, value in enumerate(values):
            if position:
                self.put(", ")
            self.write(value)
        self.put(closing)

    def pairs(self, opening: str, values: Iterable[tuple[Any, Any]], closing: str) -> None:
        self.put(opening)
        for position, (key, value) in enumerate(values):
            if position:
                self.put(", ")
            self.write(key)
            self.put(": ")
            self.write(value)
        self.put(closing)

    def fields(self, name: str, values: Iterable[tuple[str, Any]]) -> None:
        self.put(f"{name}(")
        for position, (field, value) in enumerate(values):
            self.put(f"{', ' if position else ''}{field}=")
            self.write(value)
        self.put(")")


_Write = Callable[[_Writer, Any], None]


def _writer_for(value: object) -> _Write:
    """The writer that says what the `__repr__` of this value's class would say."""
    own = class_attribute(type(value), "__repr__")
    if isinstance(own, types.FunctionType):
        if own.__code__ is _DATACLASS_CODE:
            return _dataclass
        if own.__code__ is _NAMEDTUPLE_CODE:
            return _namedtuple
    return _WRITERS.get(cast("Callable[..., str]", own), _by_itself)


def _by_itself(writer: _Writer, value: object) -> None:
    writer.put(repr(value))


def _dataclass(writer: _Writer, value: Any) -> None:
    owner = next(owner for owner in type(value).__mro__ if "__repr__" in owner.__dict__)
    names = (field.name for field in dataclasses.fields(owner) if field.repr)
    writer.fields(type(value).__qualname__, ((name, getattr(value, name)) for name in names))


def _namedtuple(writer: _Writer, value: Any) -> None:
    names = type(value)._fields
    writer.fields(type(value).__name__, zip(names, tuple.__iter__(value), strict=False))


def _text(writer: _Writer, value: str) -> None:
    writer.put(str.__repr__(str.__getitem__(value, slice(writer.room + 1))))


def _bytes(writer: _Writer, value: bytes | bytearray) -> None:
    kind: Any = bytes if isinstance(value, bytes) else bytearray
    writer.put(repr(kind.__getitem__(value, slice(writer.room + 1))))


def _array(writer: _Writer, value: array.array[Any]) -> None:
    writer.put(repr(value[: writer.room + 1]))


def _integer(writer: _Writer, value: int) -> None:
    bits = int.bit_length(value)
    large = bits > MAX_INTEGER_BITS
    writer.put(f"<integer of {bits} bits>" if large else int.__repr__(value))


def _list(writer: _Writer, value: list[Any]) -> None:
    writer.items("[", list.__iter__(value), "]")


def _tuple(writer: _Writer, value: tuple[Any, ...]) -> None:
    writer.items("(", tuple.__iter__(value), ",)" if tuple.__len__(value) == 1 else ")")


def _set(writer: _Writer, value: set[Any] | frozenset[Any]) -> None:
    kind: Any = set if isinstance(value, set) else frozenset
    name = type(value).__name__
    if not kind.__len__(value):
        writer.put(f"{name}()")
    elif type(value) is set:
        writer.items("{", kind.__iter__(value), "}")
    else:
        writer.items(f"{name}({{", kind.__iter__(value), "})")


def _dict(writer: _Writer, value: dict[Any, Any]) -> None:
    writer.pairs("{", dict.items(value), "}")


def _ordered(writer: _Writer, value: collections.OrderedDict[Any, Any]) -> None:
    writer.put(f"{type(value).__name__}(")
    if dict.__len__(value):
        writer.pairs("{", dict.items(value), "}")
    writer.put(")")


def _defaultdict(writer: _Writer, value: collections.defaultdict[Any, Any]) -> None:
    writer.put(f"{type(value).__name__}(")
    writer.write(value.default_factory)
    writer.pairs(", {", dict.items(value), "})")


def _deque(writer: _Writer, value: collections.deque[Any]) -> None:
    closing = "])" if value.maxlen is None else f"], maxlen={value.maxlen})"
    writer.items(f"{type(value).__name__}([", collections.deque.__iter__(value), closing)


def _view(writer: _Writer, value: Any) -> None:
    # Not more than will be shown: the views of a dict in use may change while they are read.
    writer.items(f"{type(value).__name__}([", islice(value, writer.room + 1), "])")


def _mappingproxy(writer: _Writer, value: types.MappingProxyType[Any, Any]) -> None:
    writer.put("mappingproxy(")
    writer.pairs("{", ((key, value[key]) for key in value), "}")
    writer.put(")")


def _namespace(writer: _Writer, value: types.SimpleNamespace) -> None:
    kind = type(value)
    name = "namespace" if kind is types.SimpleNamespace else kind.__name__
    writer.fields(name, object.__getattribute__(value, "__dict__").items())


def _exception(writer: _Writer, value: BaseException) -> None:
    arguments: tuple[Any, ...] = BaseException.__dict__["args"].__get__(value)
    writer.items(f"{type(value).__name__}(", arguments, ")")


def _method(writer: _Writer, value: types.MethodType) -> None:
    name = getattr(value.__func__, "__qualname__", "?")
    writer.put(f"<bound method {name} of ")
    writer.write(value.__self__)
    writer.put(">")


_WRITERS: dict[object, _Write] = {
    str.__repr__: _text,
    bytes.__repr__: _bytes,
    bytearray.__repr__: _bytes,
    array.array.__repr__: _array,
    int.__repr__: _integer,
    list.__repr__: _list,
    tuple.__repr__: _tuple,
    set.__repr__: _set,
    frozenset.__repr__: _set,
    dict.__repr__: _dict,
    collections.OrderedDict.__repr__: _ordered,
    collections.Counter.__repr__: _ordered,
    collections.defaultdict.__repr__: _defaultdict,
    collections.deque.__repr__: _deque,
    type({}.keys()).__repr__: _view,
    type({}.values()).__repr__: _view,
    type({}.items()).__repr__: _view,
    types.MappingProxyType.__repr__: _mappingproxy,
    types.SimpleNamespace.__repr__: _namespace,
    BaseException.__repr__: _exception,
    types.MethodType.__repr__: _method,
}
