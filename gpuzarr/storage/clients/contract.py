"""What a library that talks to a service of objects is asked for, and what it may answer.

A client makes one request a call, on the event loop that it names, and tells failures apart:

- `FileNotFoundError`: the service says that there is no such object (and not that it knows no such bucket);
- `Changed`: a condition on the state of the object did not hold;
- `TooLarge`: an object that is larger than the caller takes;
- `Beyond`: a range that begins behind the end of the object;
- `Transient`: another try may succeed (a server that is busy, a connection that broke, a body that was cut short);
- anything else is final.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio

from gpuzarr.storage.contract import Buffer, Span


class Transient(Exception):
    """A request that may succeed when it is made again, after `wait` seconds where the service said so.

    `tries`: the most that failures of this kind are worth; a body that is always short is not a bad day of the network.
    """

    def __init__(self, what: str, *, wait: float = 0.0, tries: int | None = None) -> None:
        super().__init__(what)
        self.wait, self.tries = wait, tries


class Changed(Exception):
    """The object is not in the state that the request asked for."""


class Beyond(Exception):
    """The range begins behind the end of the object, which has `size` bytes where the service said so."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__(f"the object has {size} bytes")
        self.size = size


class TooLarge(Exception):
    """The object has more bytes than the caller takes; as many as `size`, or at least so many."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the object has {size} bytes")
        self.size = size


class Answer(NamedTuple):
    """Bytes of an object."""

    data: Buffer
    start: int | None  # where they begin in the object; None where the service did not say
    size: int | None  # bytes of the whole object, where the service said
    version: Hashable  # of the object's state (ETag, generation); None where there is none


class Condition(Enum):
    """What a put may ask of the object that is there, beside a version."""

    ANY = "any"
    ABSENT = "absent"


class Client(ABC):
    """One way to talk to one kind of service; `path` is a whole name there. Made anew in every process."""

    swaps = False  # whether `put` keeps conditions on versions
    private = False  # whether no other process can see the objects
    in_flight: int | None = None  # requests at a time, where it is not the user's choice

    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, running in a thread of its own, on which the methods are to be run."""

    @abstractmethod
    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        """The object, of at most `limit` bytes, or a range of it that is not empty, which may come back shorter or
        longer; `Changed` where `version` is not None and not the object's."""

    @abstractmethod
    async def size(self, path: str) -> int | None:
        """Bytes of the object; None where the service does not say."""

    @abstractmethod
    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        """Put the whole object where `condition` holds (a version, or a Condition); `Changed` where not."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Remove the object."""
