"""The state of a file, by which two reads of it are known to agree.

A file system may give the number of a deleted file to the next one at once, and clocks of files tick in
milliseconds, so a file that was just written could be replaced by another of the same state. The state of such a
young file therefore keeps its inode from being used again: its file is held open (a *pin*) until it is young no more,
when whatever takes its place is told by its time. Few files are held at a time: where more are read, the states that
were held longest are given up, and equal nothing any more.
"""

from __future__ import annotations

import os
from collections import deque
from threading import Lock
from time import time_ns

YOUNG = 100_000_000  # nanoseconds
MOST_PINS = 64  # of a process, which may often have no more than 256 files open


class FileState(tuple[int, int, int]):
    """Inode, size, and time of the last change (nanoseconds)."""

    _pin: _Pin | None = None

    def pin(self, descriptor: int) -> None:
        """Hold the file that is open at `descriptor`, if it is young."""
        now, until = time_ns(), self[2] + YOUNG
        if now < until:
            self._pin = _Pin(descriptor, until)
            _hold(self._pin, now)

    def __eq__(self, other: object) -> bool:
        return not (self._pin is not None and self._pin.lost) and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __del__(self) -> None:
        if self._pin is not None:
            self._pin.release()


class _Pin:
    """A file that is held open."""

    def __init__(self, descriptor: int, until: int) -> None:
        self.until = until
        self.lost = False  # released while the file was young
        self._open = [os.dup(descriptor)]

    def release(self) -> None:
        """Close the file, if that has not been done."""
        try:
            os.close(self._open.pop())  # which one thread only can take
        except IndexError:
            return


_pins: deque[_Pin] = deque()
_lock = Lock()


def _hold(pin: _Pin, now: int) -> None:
    given_up = []
    with _lock:
        _pins.append(pin)
        while _pins and (_pins[0].until <= now or len(_pins) > MOST_PINS):
            given_up.append(_pins.popleft())
    for old in given_up:
        old.lost = old.until > now
        old.release()
