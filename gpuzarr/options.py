"""The few knobs, in one table, with zarr-python's spelling where it has the same knob.

`config.get(key)`, `config.set({key: value})` (for good, or as a context manager for a while), `config.reset()`.
The environment sets a default before the first import: GPUZARR_ARRAY__ORDER=F is `array.order`, and
GPUZARR_DEVICE is `device`. Options are read at the door (when an array is opened or a read begins) and handed
down; nothing changes what an array that is already open returns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pprint import pprint
from typing import Any

DEFAULTS: dict[str, Any] = {
    "device": "cpu",
    "default_zarr_format": 3,
    "array.order": "C",
    "array.write_empty_chunks": False,
    "array.read_missing_chunks": True,
    "array.rectilinear_chunks": True,
    "array.target_shard_size_bytes": None,
    "array.chunk_cache_bytes": 0,  # decoded chunks kept by an open array; 0 is no cache
    "array.sharding_coalesce_max_gap_bytes": 1 << 20,
    "array.sharding_coalesce_max_bytes": 16 << 20,
    "array.max_chunk_bytes": 2 << 30,  # decoded; a larger chunk in a store is refused unless this is raised
    "array.lock_timeout": 60.0,  # seconds that a partial write waits for its chunk
    "array.unguarded_partial_writes": False,  # to stores that cannot keep writers in other processes apart
    "array.allow_unsafe_pickle_decode": False,  # kept for zarr-python's spelling; pickle is never decoded
    "codecs.trusted": False,  # a GPU may decode without a look into the streams; for stores that you vouch for
    "gpu.file_reads": "auto",  # of uncompressed local files to a GPU: "kvikio", "host", or the quicker of both
    "gpu.timeout": 600.0,  # seconds that a wave may wait for its GPU and for what was queued before it
    "threading.max_workers": None,  # None: one a core
    "json_indent": 2,
    "async.concurrency": 64,  # requests to a cloud or web store that are under way at a time
    "async.timeout": 300.0,  # seconds that an operation on one object may take there, with all its tries
    "async.retries": 9,  # tries after the first one
    # Accepted so that programs written for zarr-python run; nothing here needs them.
    "codec_pipeline.path": None,
    "codec_pipeline.batch_size": None,
    "codec_pipeline.max_workers": None,
}


_NO_DEFAULT = object()  # None may be the default that is asked for


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in DEFAULTS:
        text = os.environ.get("GPUZARR_" + key.upper().replace(".", "__"))
        if text is not None:
            try:
                found[key] = json.loads(text)
            except ValueError:
                found[key] = text
    return found


class Config:
    """The table of options, one for the process."""

    def __init__(self) -> None:
        self._values = {**DEFAULTS, **_from_environment()}

    def get(self, key: str, default: Any = _NO_DEFAULT) -> Any:
        """The value of `key`; a prefix such as "array" gives a dict. KeyError for an unknown key without
        default."""
        if key in self._values:
            return self._values[key]
        inside = {k[len(key) + 1 :]: v for k, v in self._values.items() if k.startswith(key + ".")}
        if inside:
            return inside
        if default is not _NO_DEFAULT:
            return default
        raise KeyError(f"no option {key!r}; there are {', '.join(sorted(self._values))}")

    def set(self, values: Mapping[str, Any] | None = None, **more: Any) -> AbstractContextManager[Config]:
        """Set options, for good or as `with config.set({...}):`. Keywords spell "." as "__". KeyError for an
        unknown key."""
        flat = {**_flatten(values or {}), **{k.replace("__", "."): v for k, v in more.items()}}
        unknown = [k for k in flat if k not in DEFAULTS]
        if unknown:
            raise KeyError(f"no option {unknown[0]!r}; there are {', '.join(sorted(DEFAULTS))}")
        before = {k: self._values[k] for k in flat}
        self._values.update(flat)
        return self._until_exit(before)

    @contextmanager
    def _until_exit(self, before: Mapping[str, Any]) -> Iterator[Config]:
        try:
            yield self
        finally:
            self._values.update(before)

    def enable_gpu(self) -> AbstractContextManager[Config]:
        """zarr-python's name for `set({"device": "cuda"})`: what is opened from now on without a `device` is read to
        the GPU."""
        return self.set({"device": "cuda"})

    def reset(self) -> None:
        """Back to the defaults and the environment."""
        self._values = {**DEFAULTS, **_from_environment()}

    def pprint(self, **arguments: Any) -> None:
        """Print the table; arguments as of `pprint.pprint` (`stream`, `width`, ...)."""
        pprint(self._values, **arguments)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


config = Config()
