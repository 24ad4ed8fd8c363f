"""Zarr v2 and v3 arrays, read and written at the speed of the codecs: `import gpuzarr as zarr`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpuzarr import errors, storage
from gpuzarr._version import __version__
from gpuzarr.api import (
    consolidate_metadata,
    create_array,
    create_group,
    create_hierarchy,
    from_array,
    group,
    open,
    open_array,
    open_consolidated,
    open_group,
    tree,
)
from gpuzarr.api_numpy import (
    array,
    create,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    open_like,
    zeros,
    zeros_like,
)
from gpuzarr.array import Array
from gpuzarr.devices import device
from gpuzarr.group import Group
from gpuzarr.metadata import ArrayMetadata, GroupMetadata
from gpuzarr.options import config

if TYPE_CHECKING:
    from gpuzarr import codecs
    from gpuzarr.conversion import convert
    from gpuzarr.copying import copy, copy_all, copy_store
    from gpuzarr.saving import load, save, save_array, save_group
    from gpuzarr.sync import ProcessSynchronizer, ThreadSynchronizer
    from gpuzarr.talk import print_debug_info, set_format, set_log_level

# What not every program uses is imported when it is first asked for.
_LATER = {
    "ProcessSynchronizer": "sync",
    "ThreadSynchronizer": "sync",
    "convert": "conversion",
    "copy": "copying",
    "copy_all": "copying",
    "copy_store": "copying",
    "load": "saving",
    "print_debug_info": "talk",
    "save": "saving",
    "save_array": "saving",
    "save_group": "saving",
    "set_format": "talk",
    "set_log_level": "talk",
}

__all__ = [
    "Array",
    "ArrayMetadata",
    "Group",
    "GroupMetadata",
    "ProcessSynchronizer",
    "ThreadSynchronizer",
    "__version__",
    "array",
    "codecs",
    "config",
    "consolidate_metadata",
    "convert",
    "copy",
    "copy_all",
    "copy_store",
    "create",
    "create_array",
    "create_group",
    "create_hierarchy",
    "device",
    "empty",
    "empty_like",
    "errors",
    "from_array",
    "full",
    "full_like",
    "group",
    "load",
    "ones",
    "ones_like",
    "open",
    "open_array",
    "open_consolidated",
    "open_group",
    "open_like",
    "print_debug_info",
    "save",
    "save_array",
    "save_group",
    "set_format",
    "set_log_level",
    "storage",
    "tree",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"gpuzarr.{_LATER[name]}"), name)
    if name == "codecs":
        return import_module("gpuzarr.codecs")
    raise AttributeError(f"module 'gpuzarr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
