"""Thousands of requests through a proxy that makes faults: no wrong byte, no wrong fill, no hang.

Every read must give what was put, or raise a StoreError; with the retries that stores have by default, all of them
give it. `--long` has more, and `python -m tests.servers.storm --requests 200000` as many as you like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import ShortReadError, StoreError, StoreReadError, StoreWriteError
from gpuzarr.storage import FsspecStore, ObjectStore, Span, Store
from tests.servers.conftest import gcs_options, obstore_s3, s3_options, web_options
from tests.servers.proxy import FAULTS, Proxy, Request
from tests.servers.storm import faults, storm

SERVICES = ("s3", "gcs", "obstore", "http")
FEW = [pytest.param(name, marks=[pytest.mark.long] * (name in ("gcs", "obstore"))) for name in SERVICES]


@pytest.fixture(params=SERVICES)
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    names = {"gcs": "gcs_proxy", "http": "web_proxy"}
    proxy: Proxy = request.getfixturevalue(names.get(request.param, "s3_proxy"))
    proxy.reset()
    yield proxy
    proxy.reset()


Opener = Callable[..., Store]


@pytest.fixture
def opener(request: pytest.FixtureRequest, proxy: Proxy) -> Opener:
    """Makes stores on one place, with arguments of RemoteStore."""
    kind, name = request.node.callspec.params["proxy"], uuid4().hex

    def make(**more: Any) -> Store:
        if kind == "obstore":
            return ObjectStore(obstore_s3(proxy, name), **more)
        if kind == "gcs":
            return FsspecStore.from_url(f"gs://data/{name}", gcs_options(proxy), **more)
        if kind == "http":
            return FsspecStore.from_url(f"{proxy.url}/{name}", web_options(), **more)
        return FsspecStore.from_url(f"s3://data/{name}", s3_options(proxy), **more)

    return make


def once(fault: str, *methods: str) -> Callable[[Request], str | None]:
    """The next request fails, of these methods where any are given."""
    turns = iter((fault,))
    return lambda request: next(turns, None) if not methods or request.method in methods else None


# ---- one kind of fault


@pytest.mark.parametrize("proxy", FEW, indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_mended(proxy: Proxy, opener: Opener, fault: str) -> None:
    store = opener()
    store.set("k", bytes(range(200)))
    for read, want in (
        (lambda: store.get("k"), bytes(range(200))),
        (lambda: _ranges(store, [Span(10, 110), Span(-50, None)]), [bytes(range(10, 110)), bytes(range(150, 200))]),
        (lambda: store.get("missing"), None),
        (lambda: store.size("k"), 200),
    ):
        proxy.choose = once(fault)
        got = read()
        assert (bytes(got) if isinstance(got, memoryview) else got) == want
        if fault == "stall":  # which takes a second
            break


@pytest.mark.parametrize("proxy", ["s3"], indirect=True)
@pytest.mark.parametrize("kind", ["EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError"])
def test_what_the_s3_library_makes_of_a_connection_that_broke(
    opener: Opener, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of its errors a reset becomes is a matter of when it comes."""
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore import exceptions

    store, send = opener(), AIOHTTPSession.send
    store.set("k", b"abc")
    failures = [getattr(exceptions, kind)(endpoint_url="http://127.0.0.1", error=OSError())]

    async def fails_once(session: Any, request: Any) -> Any:
        if failures:
            raise failures.pop()
        return await send(session, request)

    monkeypatch.setattr(AIOHTTPSession, "send", fails_once)
    assert bytes(store.get("k") or b"") == b"abc"
    assert not failures


def _ranges(store: Store, spans: list[Span]) -> list[bytes]:
    pieces = store.get_ranges("k", spans)
    assert pieces is not None
    return [bytes(piece) for piece in pieces.buffers]


@pytest.mark.parametrize("proxy", FEW, indirect=True)
@pytest.mark.parametrize("fault", ["503", "reset", "lost", "stall"])
def test_writes_are_mended_too(proxy: Proxy, opener: Opener, fault: str) -> None:
    store = opener()
    for write in (
        lambda: store.set("k", b"1"),
        lambda: store.set_if_absent("new", b"2"),
        lambda: store.delete("k"),
    ):
        proxy.choose = once(fault, "PUT", "POST", "DELETE")
        assert write() in (None, True)
        if fault == "stall":
            return
    assert not store.exists("k")
    assert bytes(store.get("new") or b"") == b"2"


@pytest.mark.parametrize("proxy", FEW, indirect=True)
@pytest.mark.parametrize("fault", ["503", "reset", "short", "honest", "stall"])
def test_what_always_fails_raises_before_the_deadline(proxy: Proxy, opener: Opener, fault: str) -> None:
    store = opener(timeout=1.5, retries=2)
    store.set("k", bytes(range(200)))
    proxy.choose = lambda request: fault
    start = monotonic()
    with pytest.raises(StoreReadError, match="'k'") as caught:
        store.get_ranges("k", [Span(10, 110)])
    assert not isinstance(caught.value, ShortReadError)  # the object is not short
    if fault in ("503", "reset"):
        with pytest.raises(StoreReadError, match="'missing'"):
            store.get("missing")  # absence is not proved
        with pytest.raises(StoreWriteError, match="'k'"):
            store.set("k", b"")
    assert monotonic() - start < 3 * 1.5 + 2
    proxy.choose = lambda request: None
    assert store.size("k") == 200


# ---- many


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.long)])
def test_no_read_is_wrong(proxy: Proxy, opener: Opener, count: int) -> None:
    storm(opener(concurrency=32, timeout=100), proxy, count).check()
    met = Counter(fault for _, fault in proxy.requests)
    assert len(proxy.requests) >= count
    assert count / 20 < len(proxy.requests) - met[None] < count / 5


def test_with_hardly_any_patience_reads_fail_but_never_lie(proxy: Proxy, opener: Opener) -> None:
    store = opener()
    array = gpuzarr.create_array(store, shape=(64, 8), chunks=(2, 8), shards=(16, 8), dtype="<i4", fill_value=0)
    data = np.arange(512, dtype="<i4").reshape(64, 8) + 1
    array[:] = data
    hasty = gpuzarr.open_array(opener(retries=0, timeout=5), mode="r")
    proxy.choose = faults(0.3, tuple(fault for fault in FAULTS if fault != "stall"))
    outcomes: Counter[str] = Counter()
    for start in range(0, 64, 2):
        try:
            assert np.array_equal(hasty[start : start + 2], data[start : start + 2])
            outcomes["right"] += 1
        except StoreError:
            outcomes["error"] += 1
    assert outcomes["right"] > 5
    assert outcomes["error"] > 0
