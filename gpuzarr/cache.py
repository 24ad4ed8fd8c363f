"""An LRU cache of decoded chunks, bounded in bytes.

Off by default. It belongs to one open array and sees the writes made through that array; a chunk that another
handle or another process writes is seen only after `clear`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np


class ChunkCache:
    """Decoded chunks by their place in the grid; thread-safe."""

    def __init__(self, nbytes: int) -> None:
        self.limit = nbytes  # most bytes to hold
        self.nbytes = 0  # bytes held now
        self.hits = 0
        self.misses = 0
        self._chunks: OrderedDict[tuple[int, ...], np.ndarray[Any, Any]] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()

    @property
    def generation(self) -> int:
        """Number of drops so far; `put` takes the one that was current before the chunk was read."""
        return self._generation

    def get(self, coords: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
        """The chunk, not to be written to; None where it is not held."""
        with self._lock:
            chunk = self._chunks.get(coords)
            if chunk is None:
                self.misses += 1
            else:
                self.hits += 1
                self._chunks.move_to_end(coords)
            return chunk

    def put(self, coords: tuple[int, ...], chunk: np.ndarray[Any, Any], generation: int) -> None:
        """Keep a chunk, unless something was dropped since it was read: it may be stale then."""
        if chunk.nbytes > self.limit:
            return
        if isinstance(chunk, np.ndarray):
            chunk.flags.writeable = False
        with self._lock:
            if generation != self._generation:
                return
            old = self._chunks.pop(coords, None)
            self.nbytes += chunk.nbytes - (old.nbytes if old is not None else 0)
            self._chunks[coords] = chunk
            while self.nbytes > self.limit:
                self.nbytes -= self._chunks.popitem(last=False)[1].nbytes

    def drop(self, coords: tuple[int, ...]) -> None:
        """Forget a chunk that is about to be written, or was."""
        with self._lock:
            self._generation += 1
            old = self._chunks.pop(coords, None)
            if old is not None:
                self.nbytes -= old.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._generation += 1
            self._chunks.clear()
            self.nbytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return (ChunkCache, (self.limit,))
