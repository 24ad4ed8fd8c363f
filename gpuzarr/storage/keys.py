"""What a key is: the names that a store may hold, those of Zarr's documents, and those that are ours alone.

Paths of nodes and keys of chunks: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html#node-names
"""

from __future__ import annotations

import re

from gpuzarr.errors import KeyValidationError

MAX_KEY_BYTES = 1024
DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")  # names of metadata documents, in any place
CONVERSION = ".conversion.json"  # the notes of a conversion that is under way
TEMPORARY_PREFIX = ".gz-"  # our temporary files; never a key, never listed
LOCK_SUFFIX = ".__gzlock"  # our lock files; never a key, never listed

# One pass in C for the common case: path segments without NUL or backslash, none empty, none only dots,
# none that starts like our temporaries.
_PLAIN_KEY = re.compile(r"(?!.*\.__gzlock(?:/|$))(?:(?!\.+(?:/|$))(?!\.gz-)[^/\\\0]+(?:/(?!$)|$))+", re.DOTALL)


def validate_key(key: str) -> str:
    """`key` itself, where a store may hold it; KeyValidationError where not.

    Refused: the empty key, absolute keys, empty segments, segments of dots only ('.', '..'), NUL, backslash,
    names that are reserved for temporary and lock files, and more than 1024 bytes of UTF-8.
    """
    if not _PLAIN_KEY.fullmatch(key) or (len(key) > 255 and len(key.encode()) > MAX_KEY_BYTES):
        raise KeyValidationError(
            f"key {key[:100]!r} is not allowed: a key is segments joined by '/', none empty or of dots only, without"
            f" NUL or backslash, none reserved ({TEMPORARY_PREFIX}*, *{LOCK_SUFFIX}), at most {MAX_KEY_BYTES} bytes"
        )
    return key


def is_key(name: str) -> bool:
    """Whether a store may hold the key `name`."""
    try:
        validate_key(name)
    except KeyValidationError:
        return False
    return True


def validate_prefix(prefix: str) -> str:
    """`prefix` without slashes around it; "" is the root. KeyValidationError as for a key."""
    prefix = prefix.strip("/")
    return validate_key(prefix) if prefix else ""
