"""The contract of stores, kept by every service."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from gpuzarr.errors import StoreError
from gpuzarr.storage import FsspecStore, ObjectStore, Store
from tests.contracts.store_contract import StoreContract
from tests.servers.conftest import gcs_options, obstore_s3, s3_options
from tests.servers.proxy import Proxy
from tests.servers.web import Web


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, s3_proxy: Proxy) -> Store:
        s3_proxy.reset()
        return FsspecStore.from_url(f"s3://data/{uuid4().hex}", s3_options(s3_proxy))


class TestGcs(StoreContract):
    @pytest.fixture
    def store(self, gcs_proxy: Proxy) -> Store:
        gcs_proxy.reset()
        return FsspecStore.from_url(f"gs://data/{uuid4().hex}", gcs_options(gcs_proxy))


@pytest.mark.long
class TestObstoreS3(StoreContract):
    @pytest.fixture
    def store(self, s3_proxy: Proxy) -> Store:
        s3_proxy.reset()
        return ObjectStore(obstore_s3(s3_proxy, uuid4().hex))


class TestObstoreMemory(StoreContract):
    shares_after_pickle = None

    @pytest.fixture
    def store(self) -> Store:
        return ObjectStore(pytest.importorskip("obstore").store.MemoryStore())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_obstore_says_that_it_survives_no_fork(web: Web) -> None:
    web.objects["k"] = b"1"
    store = ObjectStore(pytest.importorskip("obstore.store").HTTPStore(web.url, client_options={"allow_http": True}))
    assert store.get("k") == b"1"
    child = os.fork()
    if child == 0:
        try:
            store.get("k")
            os._exit(1)
        except StoreError as error:
            os._exit(0 if "forkserver" in str(error) else 2)
        except BaseException:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("k") == b"1"


def test_no_message_tells_a_secret(web: Web) -> None:
    pytest.importorskip("aiohttp")
    obstore = pytest.importorskip("obstore.store")
    stores: list[Store] = [
        FsspecStore.from_url(f"{web.url}/a?signed=s3cr3t", timeout=1, retries=0),
        ObjectStore(obstore.S3Store("data", access_key_id="a", secret_access_key="s3cr3t", region="r")),
    ]
    for store in stores:
        with store.lock("k"), pytest.raises(StoreError) as caught, store.lock("k", timeout=0):
            pass
        assert "s3cr3t" not in f"{caught.value} {store} {store!r}"
    with pytest.raises(StoreError) as caught:
        FsspecStore.from_url("http://127.0.0.1:1/a?signed=s3cr3t", timeout=1, retries=0).get("k")
    assert "s3cr3t" not in str(caught.value)
