"""The contract of stores, kept by every service."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gpuzarr.storage import FsspecStore, ObjectStore, Store
from tests.contracts.store_contract import StoreContract
from tests.servers.conftest import gcs_options, obstore_s3, s3_options
from tests.servers.proxy import Proxy


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
