"""Objects behind a network: one behaviour for every service and every library that talks to it.

- A call for many objects or ranges has many requests under way, at most as many as the option `async.concurrency`.
- What failed in passing is tried again (`patience`); all methods here may be repeated, since a put replaces the whole
  object, and where a put under a condition is in doubt the object is read back.
- Only what the service calls absent is absent. Every length is compared with what was asked for and with what the
  service announced; what a server sends beyond a range is cut off, what is missing is asked for again.
- The version of an object (ETag, generation) goes with every range of it, so that ranges of two states never mix.
- A partial write puts the object under the condition that it is still the one that was read.
"""

from __future__ import annotations

import builtins
import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from gpuzarr.errors import (
    ConflictError,
    ObjectChangedError,
    StoreError,
    StoreReadError,
    StoreWriteError,
)
from gpuzarr.options import config
from gpuzarr.storage.clients.contract import Answer, Beyond, Changed, Client, Condition, TooLarge, Transient
from gpuzarr.storage.contract import Buffer, Pieces, Span, Store, byte_view, check_limit, copy_into, resolve_spans
from gpuzarr.storage.event_loop import gather, run
from gpuzarr.storage.keys import validate_key
from gpuzarr.storage.locks import thread_lock
from gpuzarr.storage.patience import Patience

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
_BATCH_BYTES = 64 << 20  # bytes that one call to put several objects holds at a time
_SWAPS = 8  # times that a partial write begins again because another writer was quicker
_SHORT_TRIES = 3  # times that a range is asked for whose answers are too short


class RemoteStore(Store):
    """A store that asks a client.

    `timeout` (seconds) and `retries` bound every operation on an object, `concurrency` the requests under way; the
    options `async.timeout`, `async.retries` and `async.concurrency` stand in for None.
    """

    def __init__(
        self,
        *,
        read_only: bool = False,
        timeout: float | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
    ) -> None:
        super().__init__(read_only=read_only)
        self.patience = Patience.of(timeout, retries)
        self.concurrency = int(config.get("async.concurrency") if concurrency is None else concurrency)
        self._client: Client | None = None
        self._gate: asyncio.Semaphore | None = None
        self._process = 0

    # ---- what a kind of store gives

    @abstractmethod
    def connect(self) -> Client:
        """A client for this process."""

    @abstractmethod
    def _at(self, key: str) -> str:
        """The key's whole name at the service. KeyValidationError."""

    @abstractmethod
    def _identity(self) -> Hashable:
        """The same for stores on the same objects."""

    def _is_absence(self, error: Exception) -> bool:
        """Whether a failure says that there is no such object."""
        return isinstance(error, FileNotFoundError)

    # ---- the client

    @property
    def client(self) -> Client:
        """The client of this process."""
        if self._client is None or self._process != os.getpid():  # a parent's connections are not to be touched
            self._client = self.connect()
            self._gate = None
            self._process = os.getpid()
        return self._client

    @property
    def swaps(self) -> bool:  # type: ignore[override]
        """Whether the service compares and swaps."""
        return self.client.swaps

    @property
    def in_flight(self) -> int:  # type: ignore[override]
        """Requests that are worth having under way."""
        return min(self.concurrency, self.client.in_flight or self.concurrency)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_client", "_gate")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _client=None, _gate=None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _run(self, *requests: Callable[[], Awaitable[T]]) -> builtins.list[T]:
        """The requests' results; they run together, and the first failure ends them all."""
        loop = self.client.loop()
        return run(gather([self._guarded(request) for request in requests]), None, loop)

    async def _guarded(self, request: Callable[[], Awaitable[T]]) -> T:
        import asyncio

        if self._gate is None:
            self._gate = asyncio.Semaphore(self.in_flight)
        async with self._gate:
            return await request()

    # ---- reading

    async def _read(
        self, key: str, span: Span | None = None, version: Hashable = None, limit: int | None = None
    ) -> Answer | None:
        """An object or a range of it, of exactly the right length; None where the key is absent."""
        client, path = self.client, self._at(key)

        async def once() -> Answer:
            try:
                answer = await client.get(path, span, version, limit)
            except Beyond as error:
                assert span is not None
                size = await client.size(path) if error.size is None else error.size
                return _behind_the_end(key, span, size)
            return answer if span is None else _exactly(key, span, answer)

        try:
            return await self.patience.call(once, what=f"read {key!r} in {self}", kind=StoreReadError)
        except Changed as error:
            raise ObjectChangedError(f"{key!r} in {self} was replaced between two reads that must agree") from error
        except TooLarge as error:
            check_limit(key, error.size, limit)
            raise
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a library raises
            self._raise_unless_absent(key, error)
            return None

    async def _size(self, key: str) -> int | None:
        client, path = self.client, self._at(key)
        try:
            what = f"read the size of {key!r} in {self}"
            size = await self.patience.call(lambda: client.size(path), what=what, kind=StoreReadError)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a library raises
            self._raise_unless_absent(key, error)
            return None
        if size is not None:
            return size
        answer = await self._read(key)  # a server that does not say
        return None if answer is None else len(answer.data)

    def _raise_unless_absent(self, key: str, error: Exception) -> None:
        if not self._is_absence(error):
            raise StoreReadError(f"cannot read {key!r} in {self}: {error!r}") from error

    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        return self.get_many([key], limit=limit)[0]

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        for key in keys:
            validate_key(key)
        found = [
            None if answer is None else answer.data
            for answer in self._run(*[partial(self._read, key, limit=limit) for key in keys])
        ]
        for key, data in zip(keys, found, strict=True):
            check_limit(key, 0 if data is None else len(data), limit)
        return found

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        validate_key(key)
        wanted = [span for span in spans if span.stop is None or span.stop > span.start]  # no service has empty ranges
        if not wanted:
            size = self.size(key)
            return None if size is None else Pieces([b""] * len(spans), size, None)
        answers = self._run(*[partial(self._read, key, span, version) for span in wanted])
        found = [answer for answer in answers if answer is not None]
        if not found:
            return None
        versions = {answer.version for answer in found if answer.version is not None}
        sizes = {answer.size for answer in found if answer.size is not None}
        if len(found) < len(wanted) or len(versions) > 1 or len(sizes) > 1:
            raise ObjectChangedError(f"{key!r} in {self} was replaced between two reads that must agree")
        data = iter(found)
        buffers: builtins.list[Buffer] = [
            next(data).data if span.stop is None or span.stop > span.start else b"" for span in spans
        ]
        if into is not None:
            buffers = [copy_into(byte_view(piece), room) for piece, room in zip(buffers, into, strict=True)]
        return Pieces(buffers, next(iter(sizes), None), next(iter(versions), None))

    def size(self, key: str) -> int | None:
        validate_key(key)
        return self._run(partial(self._size, key))[0]

    # ---- writing

    async def _write(self, verb: str, key: str, request: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.patience.call(request, what=f"{verb} {key!r} in {self}", kind=StoreWriteError)
        except (StoreError, Changed):
            raise
        except Exception as error:
            raise StoreWriteError(f"cannot {verb} {key!r} in {self}: {error!r}") from error

    async def _put(self, key: str, data: bytes, condition: Hashable) -> bool:
        """Put the object; False where the condition does not hold.

        A try whose answer was lost may have put it, and the next try then finds the condition broken: so that is
        believed only after a look at what is there. (Whoever needs to know who won puts a name into the object.)
        """
        client, path = self.client, self._at(key)
        try:
            await self._write("write", key, lambda: client.put(path, data, condition))
        except Changed:
            there = await self._read(key)
            return there is not None and byte_view(there.data) == data
        return True

    def set(self, key: str, value: Buffer) -> None:
        self.set_many([(key, value)])

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        batch: builtins.list[tuple[str, bytes]] = []
        for key, value in items:
            self.check_writable(validate_key(key))
            batch.append((key, bytes(byte_view(value))))
            if len(batch) >= self.in_flight or sum(len(data) for _, data in batch) >= _BATCH_BYTES:
                self._put_all(batch)
                batch = []
        self._put_all(batch)

    def _put_all(self, batch: builtins.list[tuple[str, bytes]]) -> None:
        if batch:
            self._run(*[partial(self._put, key, data, Condition.ANY) for key, data in batch])

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        """As atomic as the service is; where it takes no conditions, between the threads of this process."""
        self.check_writable(validate_key(key))
        data = bytes(byte_view(value))
        if self.client.swaps:
            return self._run(partial(self._put, key, data, Condition.ABSENT))[0]
        with self.lock(key):
            return not self.exists(key) and self._run(partial(self._put, key, data, Condition.ABSENT))[0]

    def delete(self, key: str) -> None:
        self.check_writable(validate_key(key))
        self._run(partial(self._delete, key))

    async def _delete(self, key: str) -> None:
        client, path = self.client, self._at(key)

        async def once() -> None:
            try:
                await client.delete(path)
            except Exception as error:
                if isinstance(error, Transient) or not self._is_absence(error):
                    raise

        await self._write("delete", key, once)

    def delete_prefix(self, prefix: str) -> None:
        self.check_writable(prefix)
        keys = iter(builtins.list(self.list(prefix)))
        while batch := builtins.list(islice(keys, self.in_flight)):
            self._run(*[partial(self._delete, key) for key in batch])

    def update(
        self,
        key: str,
        change: Callable[[Buffer | None], Buffer | None],
        *,
        timeout: float = 60.0,
        limit: int | None = None,
    ) -> None:
        """As the contract says, by compare and swap. StoreWriteError where the service has none and other processes
        may write, too, unless the option `array.unguarded_partial_writes` allows it."""
        self.check_writable(validate_key(key))
        if not self.client.swaps:
            if not self.client.private and not config.get("array.unguarded_partial_writes"):
                raise self._unguarded(key)
            super().update(key, change, timeout=timeout, limit=limit)
            return
        # The threads of this process would only spoil one another's swaps. (Who calls may hold `lock` already.)
        with thread_lock((*self._name(), "update", key), timeout):
            for _ in range(_SWAPS):
                old = self._run(partial(self._read, key, limit=limit))[0]
                if old is not None and old.version is None:
                    raise self._unguarded(key)
                value = change(None if old is None else old.data)
                assert value is not None  # so says the contract
                data = bytes(byte_view(value))
                condition = Condition.ABSENT if old is None else old.version
                if self._run(partial(self._put, key, data, condition))[0]:
                    return
        raise ConflictError(f"cannot update {key!r} in {self}: other writers were quicker {_SWAPS} times")

    def _unguarded(self, key: str) -> StoreWriteError:
        return StoreWriteError(
            f"cannot update a part of {key!r} in {self}: it has no compare-and-swap, so that the work of another"
            " writer could be lost. Write whole chunks; or, where nobody else writes or a synchronizer keeps writers"
            " apart, set the option 'array.unguarded_partial_writes'"
        )

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((*self._name(), validate_key(key)), timeout)

    def _name(self) -> tuple[Hashable, ...]:
        """The store in the name of a lock, which messages show: so without what signs its requests."""
        return (str(self), hash(self))


def _behind_the_end(key: str, span: Span, size: int | None) -> Answer:
    """What is left of a range that the service calls impossible; ShortReadError where that is not what was asked
    for, `Transient` where the service contradicts itself."""
    if size is not None:
        (start, stop), *_ = resolve_spans(key, [span], size)
        if start == stop:
            return Answer(b"", start, size, None)
    raise Transient(f"the service has not got bytes {tuple(span)} of {size}", tries=_SHORT_TRIES)


def _exactly(key: str, span: Span, answer: Answer) -> Answer:
    """The range out of what came; `Transient` where that is too little, ShortReadError where there is no more."""
    data, got, size, version = answer
    if size is not None:
        (start, stop), *_ = resolve_spans(key, [span], size)
    elif span.start < 0:
        if len(data) != -span.start:
            raise Transient("the answer does not say which bytes it is", tries=1)
        start, stop = (0 if got is None else got), (0 if got is None else got) + len(data)
    else:
        start, stop = span.start, (span.start if got is None else got) + len(data) if span.stop is None else span.stop
    first = start - (start if got is None else got)
    piece = byte_view(data)[max(first, 0) : first + stop - start] if first or len(data) != stop - start else data
    if first < 0 or len(piece) != stop - start:
        what = f"expected {stop - start} bytes from {start} on, got {max(0, len(data) - max(0, first))}"
        raise Transient(what, tries=_SHORT_TRIES)
    return Answer(piece, start, size, version)
