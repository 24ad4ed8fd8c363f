"""User attributes of an array or a group: a mapping whose every change is one write of metadata.

What is read is as it was when the node was opened or last changed through this handle. A change is made to what
the store holds at that time, so that two writers that set two attributes both find theirs.

Values are JSON. They are taken over as a reader of the store would see them (tuples as lists, keys as strings),
and what is handed out is a copy, so that a change inside a nested value is never half done: it is stored when
the value is assigned again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, TypeAlias

Change: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class Attributes(MutableMapping[str, Any]):
    """The attributes behind two callables: one that gives the present dict, one that stores what a function makes of
    the dict in the store.

    Every method that changes something raises TypeError for a value that JSON cannot hold, before anything is
    written, and ReadOnlyError where the node was opened for reading.
    """

    __slots__ = ("_change", "_read")

    def __init__(self, read: Callable[[], dict[str, Any]], change: Callable[[Change], object]) -> None:
        self._read, self._change = read, change

    def __getitem__(self, key: str) -> Any:
        return deepcopy(self._read()[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._add({key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._read():
            raise KeyError(key)
        self._change(lambda old: {name: value for name, value in old.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, key: object) -> bool:
        return key in self._read()

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Replace all attributes in one write."""
        new = as_json(attributes)
        self._change(lambda _: new)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set several attributes in one write."""
        self._add(dict(other, **more))

    def _add(self, attributes: Mapping[str, Any]) -> None:
        new = as_json(attributes)
        self._change(lambda old: {**old, **new})

    def clear(self) -> None:
        """Remove all attributes in one write."""
        self.put({})

    def pop(self, key: str, *default: Any) -> Any:
        """Remove an attribute and return its value; `default`, where given, if it is absent."""
        if len(default) > 1:
            raise TypeError(f"pop expected at most 2 arguments, got {1 + len(default)}")
        if key not in self._read() and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def asdict(self) -> dict[str, Any]:
        """All attributes, as a dict of its own."""
        return deepcopy(self._read())

    def __eq__(self, other: object) -> bool:
        return self._read() == (other._read() if isinstance(other, Attributes) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._read())


def as_json(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """`attributes` as they come back from a JSON document. TypeError where JSON cannot hold a value.

    NaN and the infinities are let through, as zarr-python does: stores are full of them.
    """
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"attributes must be JSON (numbers, strings, lists, dicts, bools, None): {error}") from error
    return found


def plain(value: Any) -> Any:
    """A value as JSON: scalars and arrays of NumPy as numbers, strings and lists, records as dicts, bytes as text.

    TypeError where JSON has no form for it: complex numbers, dates, text and bytes that are no Unicode, objects.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    dtype: Any = getattr(value, "dtype", None)
    if getattr(dtype, "names", None) is not None and value.ndim == 0:
        return {name: plain(value[name]) for name in dtype.names}
    if getattr(value, "ndim", 0):
        return value.tolist() if dtype.kind in "biuf" else [plain(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise TypeError(f"bytes that are no UTF-8: {value[:50]!r}") from None
    if dtype is not None and dtype.kind in "biufSU":
        return plain(value.item())
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise TypeError(f"text that is no Unicode: {value!r:.50}") from None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"JSON has nothing for a {type(value).__name__}: {value!r:.50}")
