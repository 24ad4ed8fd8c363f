"""One private event loop, in a thread of its own, for stores that only have asynchronous methods.

It is started by the first call, and again in a forked child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio  # at run time it is imported by the first call, as it is slow to import

from gpuzarr.errors import StoreError

T = TypeVar("T")


class _Loop:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As in a fresh process."""
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._guard:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="gpuzarr-stores", daemon=True).start()
                self._loop = loop
            return self._loop


_loop = _Loop()
os.register_at_fork(after_in_child=_loop.forget)


def private_loop() -> asyncio.AbstractEventLoop:
    """The loop."""
    return _loop.get()


def run(coroutine: Coroutine[Any, Any, T], timeout: float | None, loop: asyncio.AbstractEventLoop | None = None) -> T:
    """The coroutine's result, by the private loop or another one that runs in another thread; StoreError after
    `timeout` seconds (None: the coroutine has a deadline of its own)."""
    import asyncio

    future = asyncio.run_coroutine_threadsafe(coroutine, _loop.get() if loop is None else loop)
    try:
        return future.result(timeout)
    except TimeoutError as error:
        if future.done():
            raise  # the coroutine's own
        future.cancel()
        raise StoreError(f"no answer from the store within {timeout} s") from error
    except BaseException:  # such as an interrupt from the keyboard
        future.cancel()
        raise


async def gather(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all; the first failure cancels the rest and is raised when they have ended."""
    import asyncio

    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
