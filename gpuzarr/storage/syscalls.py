"""System calls that Python has no name for; each says where it does not exist."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_RENAME_EXCHANGE = 2  # Linux, <linux/fs.h>; macOS calls it RENAME_SWAP
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


@cache
def _function(name: str) -> Any:
    """A function of the C library, None where it has none of this name."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


def exchange(directory: int, first: str, second: str) -> bool:
    """Swap two names in a directory in one step; False where the system or the file system cannot. OSError."""
    function = _function("renameatx_np" if sys.platform == "darwin" else "renameat2")
    if function is None:
        return False
    names = directory, os.fsencode(first), directory, os.fsencode(second)
    if function(*names, ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), second)


def sync_file_system(directory: int) -> None:
    """Wait until all that was written to the file system of an open directory is on the disk. OSError."""
    function = _function("syncfs")
    if function is None:
        os.sync()
    elif function(directory) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
