"""Services for the tests in this directory: each is started once, when it is first asked for, behind a proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.processes import service
from tests.servers.proxy import Proxy, proxy_before
from tests.servers.web import Web, web_server

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # it would ask Google itself what kind of bucket this is

KEYS = {"key": "testing", "secret": "testing"}
SILENCE = 2.0  # seconds after which a connection counts as broken


@pytest.fixture(scope="session")
def s3_proxy() -> Iterator[Proxy]:
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with service("s3_process.py") as port, proxy_before(port) as proxy:
        yield proxy


def s3_options(proxy: Proxy) -> dict[str, Any]:
    """What a user of another service than Amazon's says."""
    return {
        **KEYS,
        "endpoint_url": proxy.url,
        "client_kwargs": {"region_name": "us-east-1"},
        "config_kwargs": {"read_timeout": SILENCE, "retries": {"max_attempts": 0}},
    }


@pytest.fixture(scope="session")
def gcs_proxy() -> Iterator[Proxy]:
    pytest.importorskip("gcp_storage_emulator")
    pytest.importorskip("gcsfs")
    with service("gcs_process.py") as port, proxy_before(port) as proxy:
        yield proxy


def silence() -> Any:
    """A timeout for what is built on aiohttp."""
    return pytest.importorskip("aiohttp").ClientTimeout(sock_read=SILENCE)


def gcs_options(proxy: Proxy) -> dict[str, Any]:
    return {
        "token": "anon",
        "endpoint_url": proxy.url,
        "project": "testing",
        "requests_timeout": silence(),
    }


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="session")
def web_proxy(web: Web) -> Iterator[Proxy]:
    with proxy_before(int(web.url.rpartition(":")[2])) as proxy:
        yield proxy


def obstore_s3(proxy: Proxy, prefix: str, **more: Any) -> Any:
    """An obstore store below a prefix of the bucket."""
    return pytest.importorskip("obstore.store").S3Store(
        "data",
        prefix=prefix,
        endpoint=proxy.url,
        access_key_id=KEYS["key"],
        secret_access_key=KEYS["secret"],
        region="us-east-1",
        client_options={"allow_http": True, "timeout": f"{SILENCE:g}s"},
        retry_config={"max_retries": 0},
        **more,
    )


def web_options() -> dict[str, Any]:
    return {"client_kwargs": {"timeout": silence()}}
