"""A store that goes wrong at its Nth operation, and works otherwise: for every kind of store, with no system call."""

from __future__ import annotations

import builtins
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gpuzarr.errors import StoreReadError, StoreWriteError
from gpuzarr.storage.contract import Buffer, Pieces, Span, Store
from gpuzarr.storage.wrappers import WrapperStore

Fault = Literal["fail", "fail from then on", "short", "flip", "stale", "slow"]
READ_FAULTS: tuple[Fault, ...] = ("short", "flip", "stale")


@dataclass
class Schedule:
    """What goes wrong, and at which operation; `count` is how many there have been. Lies ("short", "flip", "stale")
    are told of what is read, at the Nth read."""

    fault: Fault
    number: int
    count: int = 0
    past: dict[str, bytes | None] = field(default_factory=dict)  # objects as they were before the last change

    def now(self, reads: bool) -> bool:
        """Whether it goes wrong this time."""
        if self.fault in READ_FAULTS and not reads:
            return False
        self.count += 1
        return self.count == self.number or (self.fault == "fail from then on" and self.count > self.number)


class FaultyStore(WrapperStore):
    """A store whose operations go by a schedule."""

    def __init__(self, store: Store, schedule: Schedule) -> None:
        super().__init__(store)
        self.schedule = schedule

    def _around(self, store: Store) -> FaultyStore:
        return type(self)(store, self.schedule)

    def _step(self, key: str, *, reads: bool) -> bool:
        """Before an operation: fail or wait, where that is due; whether a lie is."""
        if not self.schedule.now(reads):
            return False
        if self.schedule.fault.startswith("fail"):
            raise (StoreReadError if reads else StoreWriteError)(f"{key!r}: the fault that was asked for")
        if self.schedule.fault == "slow":
            time.sleep(0.002)
        return self.schedule.fault in READ_FAULTS

    def _lie(self, key: str, value: Buffer | None) -> Buffer | None:
        if self.schedule.fault == "stale":
            return self.schedule.past.get(key, value)
        data = bytearray(value or b"")
        if not data:
            return value
        if self.schedule.fault == "short":
            return bytes(data[: len(data) // 2])
        data[len(data) // 2] ^= 16
        return bytes(data)

    # ---- reading: every way goes through the whole object

    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        lies = self._step(key, reads=True)
        value = super().get(key, limit=limit)
        return self._lie(key, value) if lies else value

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        return [self.get(key, limit=limit) for key in keys]

    def read_into(
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False, packed: bool = False
    ) -> builtins.list[int | None]:
        return Store.read_into(self, keys, room, stride, packed=packed)

    def get_into_many(
        self, keys: Sequence[str], outs: Sequence[Buffer], *, checked: bool = False
    ) -> builtins.list[int | None]:
        return Store.get_into_many(self, keys, outs)

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        lies = self._step(key, reads=True)
        pieces = super().get_ranges(key, spans, version=version, into=into)
        if not lies or pieces is None or self.schedule.fault != "flip":
            return pieces  # a store counts the bytes that it gives, and knows a version
        flat = [part for each in pieces.buffers for part in (each if isinstance(each, list) else [each])]
        if all(isinstance(part, memoryview) and not part.readonly for part in flat):
            part = max(flat, key=len)
            part[len(part) // 2 : len(part) // 2 + 1] = bytes([part[len(part) // 2] ^ 16])
            return pieces
        return pieces._replace(buffers=[self._lie(key, each) for each in pieces.buffers])

    def size(self, key: str) -> int | None:
        self._step(key, reads=True)
        return super().size(key)

    def exists(self, key: str) -> bool:
        self._step(key, reads=True)
        return super().exists(key)

    # ---- writing

    def _change(self, key: str) -> None:
        self._step(key, reads=False)
        old = self._store.get(key)
        self.schedule.past[key] = None if old is None else bytes(old)

    def set(self, key: str, value: Any) -> None:
        self._change(key)
        super().set(key, value)

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        for key, value in items:
            self.set(key, value)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self._change(key)
        return super().set_if_absent(key, value)

    def delete(self, key: str) -> None:
        self._change(key)
        super().delete(key)

    def delete_prefix(self, prefix: str) -> None:
        self._step(prefix, reads=False)
        super().delete_prefix(prefix)


class Failing(WrapperStore):
    """Fails at every change from the Nth on."""

    def __init__(self, store: Store, good: int) -> None:
        super().__init__(store)
        self.left = good

    def _count(self, key: str) -> None:
        if self.left == 0:
            raise StoreWriteError(f"{key}: no more")
        self.left -= 1

    def set(self, key: str, value: Any) -> None:
        self._count(key)
        super().set(key, value)

    def set_many(self, items: Any) -> None:
        for key, value in items:
            self.set(key, value)

    def delete(self, key: str) -> None:
        self._count(key)
        super().delete(key)
