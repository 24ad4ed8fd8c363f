"""Threads that help the one that reads: kept between reads, more when more are wanted, new ones after a fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


class _Turn:
    """A walk until it is over. A helper that is let off stays in the queue as long as the others are busy, and would
    keep all that the walk holds in memory."""

    __slots__ = ("_walk",)

    def __init__(self, walk: Callable[[], None]) -> None:
        self._walk: Callable[[], None] | None = walk

    def __call__(self) -> None:
        walk = self._walk
        if walk is not None:
            walk()

    def end(self) -> None:
        """Let go of the walk."""
        self._walk = None


class Crew:
    """A pool of threads, started at the first use."""

    def __init__(self) -> None:
        self._forget()
        _crews.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._workers = 0

    def walk(self, walk: Callable[[], None], hands: int, most: int) -> None:
        """Call `walk` on the calling thread and on `hands - 1` threads of at most `most - 1` beside it, and wait.

        The caller always takes part, so a walk may itself need the crew without waiting for a busy one; helpers that
        have not begun when the caller is done are let off. The first exception is raised.
        """
        turn = _Turn(walk)
        aids = [self._submit(turn, most - 1) for _ in range(hands - 1)]
        try:
            walk()
        finally:
            errors = [aid.exception() for aid in aids if not aid.cancel()]
            turn.end()
        for error in errors:
            if error is not None:
                raise error

    def _submit(self, walk: Callable[[], None], workers: int) -> Future[None]:
        from concurrent.futures import ThreadPoolExecutor  # brings logging along, which a quick import can do without

        with self._lock:
            if self._pool is None or self._workers < workers:
                if self._pool is not None:
                    self._pool.shutdown(wait=False)
                self._workers = workers
                self._pool = ThreadPoolExecutor(workers, thread_name_prefix="gpuzarr")
            return self._pool.submit(walk)


def _forget_threads() -> None:
    """In a forked child the threads do not exist."""
    for crew in list(_crews):
        crew._forget()


os.register_at_fork(after_in_child=_forget_threads)
