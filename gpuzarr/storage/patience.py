"""Trying again: exponential backoff with jitter, a bounded number of tries, and a deadline over all of them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from gpuzarr.errors import StoreError
from gpuzarr.options import config
from gpuzarr.storage.clients.contract import Transient

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0  # seconds


class Patience(NamedTuple):
    """How long one operation on one object is tried."""

    timeout: float  # seconds, all tries and the waits between them
    retries: int  # tries after the first one

    @classmethod
    def of(cls, timeout: float | None, retries: int | None) -> Patience:
        """Of what a user gave; the options `async.timeout` and `async.retries` for None."""
        return cls(
            float(config.get("async.timeout") if timeout is None else timeout),
            int(config.get("async.retries") if retries is None else retries),
        )

    async def call(self, request: Callable[[], Awaitable[T]], *, what: str, kind: type[StoreError]) -> T:
        """What `request` gives, made again for as long as it fails in passing.

        Raises `kind` where the tries are used up or the deadline has passed; every other failure as it is.
        """
        import asyncio  # slow to import, and stores on this machine do not need it

        tried = limited = 0
        last: Exception | None = None
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    try:
                        return await request()
                    except Transient as failure:
                        tried += 1
                        last = failure
                        limited += failure.tries is not None
                        if tried > self.retries or (failure.tries is not None and limited >= failure.tries):
                            break
                        await asyncio.sleep(max(failure.wait, _wait(tried)))
        except TimeoutError as error:
            cause = error if last is None else last
            raise kind(f"cannot {what}: no answer within {self.timeout:g} s") from cause
        raise kind(f"cannot {what}: {last}; tried {tried} times") from last.__cause__ or last


def _wait(tried: int) -> float:
    """Seconds before the next try: anything up to a bound that doubles, so that many clients do not come at once."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (tried - 1))
