"""The host: NumPy, and a pool of threads that is rebuilt after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count as counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuzarr.devices.contract import Device, Lane
from gpuzarr.options import config

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


def _usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CpuDevice(Device):
    """Waves of about a megabyte, so that encoded and decoded bytes stay in cache; one lane a core."""

    name = "cpu"
    xp = np
    wave_bytes = 1 << 20

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._workers = 0
        os.register_at_fork(after_in_child=self._forget_pool)

    def _forget_pool(self) -> None:
        """In a forked child the pool's threads do not exist; the next `run` starts new ones."""
        self._lock = threading.Lock()
        self._pool = None

    @property
    def lanes(self) -> int:  # type: ignore[override]
        """Waves in flight: the option `threading.max_workers`, or the number of usable cores."""
        return int(config.get("threading.max_workers") or _usable_cores())

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> Any:
        """An uninitialised NumPy array."""
        return np.empty(shape, dtype, order)  # type: ignore[call-overload]

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """The array itself."""
        return array

    def download(self, array: Any) -> np.ndarray[Any, Any]:
        """The array itself."""
        return np.asarray(array)

    def lane(self) -> Lane:
        """The calling thread's lane."""
        try:
            lane: Lane = self._local.lane
        except AttributeError:
            lane = self._local.lane = Lane()
        return lane

    def run(self, task: Callable[[int, Lane], None], count: int) -> None:
        """Walk the tasks on the calling thread and, where there are several, on the pool beside it.

        The caller always takes part, so a task may itself call `run` without waiting for a busy pool.
        """
        if count == 1:
            lane = self.lane()
            task(0, lane)
            lane.trim()
            return
        numbers, failed = counter(), threading.Event()

        def walk() -> None:
            lane = self.lane()
            try:
                while (i := next(numbers)) < count and not failed.is_set():
                    task(i, lane)
            except BaseException:
                failed.set()
                raise
            finally:
                lane.trim()

        aids = [self._submit(walk) for _ in range(min(self.lanes, count) - 1)]
        try:
            walk()
        finally:
            errors = [aid.exception() for aid in aids if not aid.cancel()]
        for error in errors:
            if error is not None:
                raise error

    def _submit(self, walk: Callable[[], None]) -> Future[None]:
        from concurrent.futures import ThreadPoolExecutor  # brings logging along, which a quick import can do without

        with self._lock:
            if self._pool is None or self._workers < self.lanes - 1:
                if self._pool is not None:
                    self._pool.shutdown(wait=False)
                self._workers = self.lanes - 1
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="gpuzarr")
            return self._pool.submit(walk)
