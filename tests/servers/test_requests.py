"""How many requests things cost, counted before the services; and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

import gpuzarr.write
from gpuzarr.errors import ArrayNotFoundError, ConflictError, StoreReadError, StoreWriteError
from gpuzarr.storage import FsspecStore, ObjectStore, Span, Store
from gpuzarr.write import merge
from tests.servers.conftest import gcs_options, obstore_s3, s3_options
from tests.servers.proxy import Proxy
from tests.servers.web import Web

SERVICES = ("s3", "gcs", "obstore")


@pytest.fixture(params=SERVICES)
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    proxy: Proxy = request.getfixturevalue("gcs_proxy" if request.param == "gcs" else "s3_proxy")
    proxy.reset()
    yield proxy
    proxy.reset()


@pytest.fixture
def store(request: pytest.FixtureRequest, proxy: Proxy) -> Store:
    kind, name = request.node.callspec.params["proxy"], uuid4().hex
    if kind == "obstore":
        return ObjectStore(obstore_s3(proxy, name))
    if kind == "gcs":
        return FsspecStore.from_url(f"gs://data/{name}", gcs_options(proxy))
    return FsspecStore.from_url(f"s3://data/{name}", s3_options(proxy))


def data(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype="<f4").reshape(shape)


def test_opening_an_array_or_a_consolidated_group_is_one_request(store: Store, proxy: Proxy) -> None:
    group = gpuzarr.create_group(store)
    for name in "abc":
        group.create_array(name, shape=(4,), chunks=(2,), dtype="i4")
    gpuzarr.consolidate_metadata(store)
    proxy.reset()
    array = gpuzarr.open_array(store, path="a", mode="r")
    assert len(proxy.requests) == 1
    assert array.shape == (4,)
    opened = gpuzarr.open_group(store, mode="r")
    assert sorted(opened.array_keys()) == ["a", "b", "c"]
    assert opened["b"].chunks == (2,)
    assert len(proxy.requests) == 2


def test_a_small_read_is_a_request_a_chunk(store: Store, proxy: Proxy) -> None:
    array = gpuzarr.create_array(store, shape=(8, 8), chunks=(2, 8), dtype="<f4", compressors=None)
    array[:] = data(8, 8)
    proxy.reset()
    assert np.array_equal(array[1:3, 2], data(8, 8)[1:3, 2])
    assert len(proxy.requests) == len(proxy.asked()) == 2


def test_a_shard_read_is_its_index_once_and_a_range(store: Store, proxy: Proxy) -> None:
    array = gpuzarr.create_array(store, shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="<f4")
    array[:] = data(64, 64)
    proxy.reset()
    assert np.array_equal(array[:8, :8], data(64, 64)[:8, :8])
    index, part = proxy.asked()
    assert index.range == f"bytes=-{64 * 16 + 4}"
    assert part.range is not None
    assert np.array_equal(array[8:24, 8:24], data(64, 64)[8:24, 8:24])
    assert len(proxy.requests) == 3  # the index is kept, and neighbours come together


def test_a_shard_that_was_replaced_is_noticed(store: Store, proxy: Proxy) -> None:
    array = gpuzarr.create_array(store, shape=(64,), chunks=(8,), shards=(64,), dtype="<f4")
    array[:] = data(64)
    assert array[3] == 3
    gpuzarr.open_array(store)[:] = data(64)[::-1] * 2  # another handle, another length of every chunk
    proxy.reset()
    assert np.array_equal(array[:16], data(64)[::-1][:16] * 2)


def test_requests_of_a_call_run_together(store: Store, proxy: Proxy) -> None:
    keys = [f"k{i}" for i in range(20)]
    store.set_many((key, key.encode()) for key in keys)
    proxy.reset()
    proxy.latency = 0.2
    assert [bytes(value) for value in store.get_many(keys)] == [key.encode() for key in keys]
    assert proxy.most >= 15


def test_partial_writes_compare_and_swap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    array = gpuzarr.create_array(store, shape=(8,), chunks=(8,), dtype="<i4", compressors=None, fill_value=0)
    array[:2] = 1
    turns = []

    def meddle(*arguments: Any) -> Any:
        """Another process writes between the read and the put, once."""
        turns.append(1)
        if len(turns) == 1:
            store.set("c/0", np.array([1, 1, 0, 0, 7, 7, 7, 7], "<i4"))
        return merge(*arguments)

    monkeypatch.setattr(gpuzarr.write, "merge", meddle)
    array[2] = 5
    assert len(turns) == 2
    assert array[:].tolist() == [1, 1, 5, 0, 7, 7, 7, 7]
    array[:7] = 0
    array[7:] = 0
    assert store.exists("c/0")  # nothing deletes under a condition


def test_a_swap_ends_when_others_are_always_quicker(store: Store) -> None:
    store.set("k", b"0")
    rounds: list[int] = []

    def change(old: Any) -> bytes:
        rounds.append(1)
        store.set("k", b"other%d" % len(rounds))
        return b"mine"

    with pytest.raises(ConflictError, match="'k'"):
        store.update("k", change)
    assert bytes(store.get("k") or b"") == b"other8"


def test_a_bucket_that_is_not_there_is_no_missing_chunk(s3_proxy: Proxy) -> None:
    s3_proxy.reset()
    store = FsspecStore.from_url("s3://nosuchbucket/x", s3_options(s3_proxy))
    with pytest.raises(StoreReadError, match="no such bucket"):
        store.get("c/0")
    obstore = pytest.importorskip("obstore.store")
    other = ObjectStore(
        obstore.S3Store(
            "nosuchbucket",
            endpoint=s3_proxy.url,
            access_key_id="a",
            secret_access_key="b",
            client_options={"allow_http": True},
        )
    )
    with pytest.raises(StoreReadError, match="no such bucket"):
        other.get("c/0")


# ---- the web


def test_the_web(web: Web, web_proxy: Proxy) -> None:
    pytest.importorskip("aiohttp")
    web_proxy.reset()
    source = {}
    array = gpuzarr.create_array(source, shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="<f4")
    array[:] = data(64, 64)
    web.objects.update({f"x y/a.zarr/{key}": bytes(value) for key, value in source.items()})
    web.secret = "s3cr3t"
    url = f"{web_proxy.url}/x%20y/a.zarr?signed=s3cr3t"
    opened = gpuzarr.open_array(url, mode="r")
    assert len(web_proxy.requests) == 1
    assert np.array_equal(opened[:8, :8], data(64, 64)[:8, :8])
    assert [request.method for request, _ in web_proxy.requests] == ["GET"] * 3
    assert "s3cr3t" not in f"{opened.store!s} {opened.store!r} {opened!r}"
    with pytest.raises(StoreReadError, match="403"):
        gpuzarr.open_array(f"{web_proxy.url}/x%20y/a.zarr?signed=wrong", mode="r")
    web.secret = None
    web.objects["x y/a.zarr/c/0/0"] = bytes(1000)
    with pytest.raises(gpuzarr.errors.CorruptChunkError):
        opened[:16, :16]


def test_a_web_server_without_etags(web: Web) -> None:
    pytest.importorskip("aiohttp")
    web.objects["k"] = b"abcdef"
    web.etags = False
    try:
        store = FsspecStore.from_url(web.url)
        pieces = store.get_ranges("k", [Span(1, 3), Span(-2, None), Span(2, None), Span(-9, None)])
        assert pieces is not None
        assert [bytes(piece) for piece in pieces.buffers] == [b"bc", b"ef", b"cdef", b"abcdef"]
        assert pieces.size == 6
        assert pieces.version is None
    finally:
        web.etags = True


def test_partial_writes_without_a_swap_are_refused(web: Web) -> None:
    pytest.importorskip("aiohttp")
    store = FsspecStore.from_url(f"{web.url}/new")
    array = gpuzarr.create_array(store, shape=(8,), chunks=(4,), dtype="<i4", compressors=None)
    array[:4] = 1
    with pytest.raises(StoreWriteError, match=r"no compare-and-swap.*'array.unguarded_partial_writes'"):
        array[0] = 2
    with gpuzarr.config.set({"array.unguarded_partial_writes": True}):
        array[0] = 2
    assert array[:].tolist() == [2, 1, 1, 1, 0, 0, 0, 0]
    store.delete("c/0")
    assert array[0] == 0
    with pytest.raises(ArrayNotFoundError):
        gpuzarr.open_array(f"{web.url}/elsewhere", mode="r")


@pytest.mark.parametrize("shards", [None, (24, 1024)])
def test_waves_read_ahead_while_others_wait(s3_proxy: Proxy, shards: Any) -> None:
    s3_proxy.reset()
    store = FsspecStore.from_url(f"s3://data/{uuid4().hex}", s3_options(s3_proxy))
    array = gpuzarr.create_array(store, name="small", shape=(48, 1024), chunks=(1, 1024), shards=shards, dtype="<f8")
    wide = gpuzarr.create_array(store, name="wide", shape=(24, 1 << 17), chunks=(1, 1 << 17), dtype="<f8")
    array[:] = 1.0
    wide[:] = 2.0  # a wave a chunk
    for one, value, most in ((wide, 2.0, 18), (array, 1.0, 2 if shards else 18)):
        s3_proxy.reset()
        s3_proxy.latency = 0.2
        assert (one[:] == value).all()
        assert s3_proxy.most >= most
    s3_proxy.reset()
