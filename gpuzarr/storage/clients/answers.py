"""HTTP answers (RFC 9110) to a GET, with or without a range: statuses, lengths, and no more bytes than were asked for.

A server may ignore a range (status 200), send less of it than it could, or break off; the first costs time but no
memory here, and the others are noticed by the numbers in the header.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from email.utils import parsedate_to_datetime
from time import time

from gpuzarr.storage.clients.contract import Answer, Beyond, Changed, TooLarge, Transient
from gpuzarr.storage.contract import Span

Reader = Callable[[int], Awaitable[bytes]]  # at most so many bytes of the body, b"" at its end; -1: all of it

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)
_LONGEST_WAIT = 60.0  # seconds that a server may ask for
_PART = 1 << 20  # bytes that are skipped at a time


def range_header(span: Span) -> str:
    """The value of `Range` for a span that is not empty."""
    start, stop = span
    return f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"


def failure(status: int, headers: Mapping[str, str], said: str = "") -> Exception | None:
    """What an answer's status means, where it is not success; `said` is the start of the body."""
    if status in (200, 206):
        return None
    what = f"status {status}{': ' if said else ''}{said[:300]}"
    if status in (404, 410):
        return FileNotFoundError(what)
    if status == 412:
        return Changed(what)
    if status == 416:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        return Beyond(int(found[3]) if found and found[3] != "*" else None)
    if status in _TRANSIENT:
        return Transient(what, wait=_wait(headers.get("Retry-After", "")))
    return PermissionError(what) if status in (401, 403) else OSError(what)


def _wait(retry_after: str) -> float:
    try:
        seconds = (
            float(retry_after) if retry_after.isdigit() else parsedate_to_datetime(retry_after).timestamp() - time()
        )
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT)


async def read_answer(
    span: Span | None, limit: int | None, status: int, headers: Mapping[str, str], read: Reader, version: Hashable
) -> Answer:
    """The body of a 200 or 206. Raises Transient where it is shorter than the header says, TooLarge where it is a
    whole object of more than `limit` bytes."""
    announced = headers.get("Content-Length", "")
    length = int(announced) if announced.isdigit() else None
    if status == 206:
        return await _read_part(span, headers, length, read, version)
    if headers.get("Content-Encoding", "identity") not in ("identity", ""):
        length = None  # of the packed body, which the library has unpacked
    if span is None or length is None:
        if span is None and limit is not None and (length or 0) > limit:
            raise TooLarge(length or 0)
        data = await (read(-1) if limit is None or length is not None else _at_most(read, limit))
        if length is not None and len(data) != length:
            raise _short(length, len(data))
        return Answer(data, 0, len(data), version)
    start = max(0, length + span.start) if span.start < 0 else span.start
    stop = length if span.start < 0 or span.stop is None else min(span.stop, length)
    skipped = 0
    while skipped < start and (part := await read(min(_PART, start - skipped))):
        skipped += len(part)
    return Answer(await _take(read, max(0, stop - start)), start, length, version)


async def _read_part(
    span: Span | None, headers: Mapping[str, str], length: int | None, read: Reader, version: Hashable
) -> Answer:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if headers.get("Content-Encoding", "identity") not in ("identity", ""):
        raise OSError(f"a range came packed as {headers['Content-Encoding']}, so that it cannot be told apart")
    if span is None or found is None or found[1] is None:
        raise Transient("a part came without saying which", tries=3)
    start, stop = int(found[1]), int(found[2]) + 1
    size = None if found[3] == "*" else int(found[3])
    if stop <= start:  # what some services say of a range behind the end
        return Answer(b"", start, size, version)
    if length is not None and length != stop - start:
        raise Transient(f"the header speaks of {stop - start} bytes and of {length}", tries=3)
    return Answer(await _take(read, stop - start), start, size, version)


async def _at_most(read: Reader, limit: int) -> bytes:
    """A body of unknown length, which need not have an end."""
    parts = []
    room = limit + 1
    while room and (part := await read(room)):
        parts.append(part)
        room -= len(part)
    if not room:
        raise TooLarge(limit + 1)
    return b"".join(parts)


async def _take(read: Reader, count: int) -> bytes:
    """Exactly `count` bytes of a body."""
    parts = []
    missing = count
    while missing and (part := await read(missing)):
        parts.append(part)
        missing -= len(part)
    if missing:
        raise _short(count, count - missing)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _short(expected: int, got: int) -> Transient:
    return Transient(f"expected {expected} bytes, got {got}")
